"""EQ sections: designs against SciPy, and the impulse response of the chain that runs them."""

import numpy as np
import pytest
from reference.biquad import response_db, section
from scipy.signal import lfilter

import auralis_core as ac
from auralis_core.chain import eq_response_db
from auralis_core.plan import Band, MasteringPlan

BANDS = [
    ("peaking", 63.0, 1.0, 1.5),
    ("peaking", 3500.0, 0.7, -3.0),
    ("low_shelf", 100.0, 0.7, 4.0),
    ("high_shelf", 9000.0, 0.7, -6.0),
]


def plan_of(rows):
    return MasteringPlan("adaptive", eq=tuple(Band(*row) for row in rows))


@pytest.mark.parametrize("sample_rate", [22050, 44100, 96000, 192000])
def test_designs_match_the_bilinear_transform(sample_rate):
    f = np.geomspace(20, 0.49 * sample_rate, 200)
    for row in BANDS:
        np.testing.assert_allclose(
            eq_response_db([Band(*row)], sample_rate, f), response_db([row], sample_rate, f), atol=1e-6
        )


def test_the_impulse_response_of_a_chain_is_the_design():
    x = np.zeros((2, 65536), np.float32)
    x[:, 0] = 1.0
    y = ac.render_array(x, 44100, plan_of(BANDS))
    f = np.fft.rfftfreq(65536, 1 / 44100)[30:-10]
    measured = 20 * np.log10(np.abs(np.fft.rfft(y[0].astype(float))))[30:-10]
    # float32 output of a unit impulse: 1e-3 dB; the promise is .5 dB.
    np.testing.assert_allclose(measured, eq_response_db(plan_of(BANDS).eq, 44100, f), atol=5e-3)
    np.testing.assert_array_equal(y[0], y[1])


def test_a_chain_of_sections_equals_scipys_filter():
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (3, 20000)).astype(np.float32)
    expected = x.astype(float)
    for row in BANDS:
        expected = lfilter(*section(row[0], 44100, *row[1:]), expected)
    # Rounded to float32 once, at the end: half an ulp of 1.
    np.testing.assert_allclose(ac.render_array(x, 44100, plan_of(BANDS)), expected, atol=6e-8)


def test_zero_gain_is_bit_exact():
    x = np.random.default_rng(2).uniform(-1, 1, (2, 5000)).astype(np.float32)
    plan = plan_of([(kind, f0, q, 0.0) for kind, f0, q, _ in BANDS])
    assert plan.is_identity
    assert ac.render_array(x, 44100, plan).tobytes() == x.tobytes()


def test_corner_above_nyquist_stays_stable():
    x = np.random.default_rng(3).uniform(-0.5, 0.5, (1, 16000)).astype(np.float32)
    y = ac.render_array(x, 8000, plan_of([("high_shelf", 9000.0, 0.7, 6.0), ("peaking", 20000.0, 1.0, 6.0)]))
    assert np.abs(y).max() < 4.0


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_every_channel_is_filtered_as_if_it_were_alone(channels):
    """Channels go through the cascade in pairs; an odd one is its own partner."""
    rows = [(*BANDS[k % 4][:1], 40.0 * 1.7**k, 0.9, 1.0 + k / 4) for k in range(12)]
    x = np.random.default_rng(4).uniform(-0.5, 0.5, (channels, 3000)).astype(np.float32)
    together = ac.render_array(x, 44100, plan_of(rows))
    alone = [ac.render_array(x[c : c + 1], 44100, plan_of(rows))[0] for c in range(channels)]
    assert together.tobytes() == np.stack(alone).tobytes()
