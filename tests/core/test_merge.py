"""FeatureExtractor.merge: what a measurement of two halves gives, against the measurement of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from collision import one_is_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auralis_core import DIMENSIONS, FeatureExtractor, Fingerprint, fingerprint_array
from auralis_core.audio import AudioReader

RATE = 44100
Samples = NDArray[np.float32]

#: How far a merged measurement of 20 s of music, cut once, may lie from that of the whole: twice what is
#: measured, rounded up. No frame reaches across the seam (chroma loses four of a hundred, the others fewer),
#: the part of a 100 ms block before it is left out, and the filters begin anew.
ANYWHERE = {
    **dict.fromkeys((d.name for d in DIMENSIONS if d.group == "frequency"), 0.005),
    "lufs": 0.1,
    "crest_db": 0.1,
    "bass_mid_ratio": 0.1,
    "tempo_bpm": 1.5,
    "rhythm_stability": 0.2,
    "transient_density": 0.04,
    "silence_ratio": 0.003,
    "spectral_centroid": 0.003,
    "spectral_rolloff": 0.003,
    "spectral_flatness": 0.001,
    "harmonic_ratio": 0.01,
    "pitch_stability": 0.03,
    "chroma_energy": 0.03,
    "dynamic_range_variation": 0.03,
    "loudness_variation_std": 0.1,
    "peak_consistency": 0.01,
    "stereo_width": 0.002,
    "phase_correlation": 0.003,
}
#: A cut at a whole number of 100 ms leaves no part of a block: loudness differs by the filters' onset alone.
ON_THE_GRID = {**ANYWHERE, "lufs": 1e-3, "loudness_variation_std": 1e-3, "silence_ratio": 1e-9}


def fed(x: Samples, rate: int = RATE) -> FeatureExtractor:
    extractor = FeatureExtractor(rate, len(x))
    extractor.feed(np.ascontiguousarray(x))
    return extractor


def close(merged: Fingerprint, whole: Fingerprint, tolerance: dict[str, float]) -> None:
    for d, a, b in zip(DIMENSIONS, whole.values, merged.values, strict=True):
        assert b == pytest.approx(a, abs=tolerance[d.name]), d.name


def nearly_equal(a: Fingerprint, b: Fingerprint) -> None:
    """Sums in another order: 1e-9 is their rounding. Maxima know the windows across a seam that were whole
    when it was made, and so no others."""
    assert a.values == pytest.approx(b.values, abs=1e-9)
    for name in a.extras.keys() - {"momentary_max", "short_term_max"}:
        assert a.extras[name] == pytest.approx(b.extras[name], abs=1e-9), name
    assert (a.histogram, a.flags, a.frames) == (b.histogram, b.flags, b.frames)


@pytest.fixture(scope="module", params=["vibe_ace", "lets_go_fishin", "sugar_plum_fairy"])
def music(request: pytest.FixtureRequest, shared_audio) -> Samples:
    with AudioReader(shared_audio / f"{request.param}.ogg") as reader:
        reader.seek(20 * RATE)
        return reader.read(20 * RATE)


def noise(seconds: float, seed: int = 0, channels: int = 2) -> Samples:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    beat = np.exp(-9 * (t % 0.5)) * rng.standard_normal((channels, t.size))
    return (0.1 * beat + 0.2 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


@pytest.mark.parametrize("cut", [7 * RATE, 10 * RATE, 12 * RATE + RATE // 10])
def test_halves_cut_on_the_grid_measure_as_the_whole(music: Samples, cut: int) -> None:
    first = fed(music[:, :cut])
    first.merge(fed(music[:, cut:]))
    merged, whole = first.finish(), fingerprint_array(music, RATE)
    close(merged, whole, ON_THE_GRID)
    # Exact, wherever the cut.
    assert merged.histogram == whole.histogram
    assert merged.frames == whole.frames
    assert merged.extras["sample_peak_dbfs"] == whole.extras["sample_peak_dbfs"]


@pytest.mark.parametrize("cut", [7 * RATE + 77, 10 * RATE + 12345, 12 * RATE + 1])
def test_halves_cut_anywhere_measure_as_the_whole(music: Samples, cut: int) -> None:
    first = fed(music[:, :cut])
    first.merge(fed(music[:, cut:]))
    merged, whole = first.finish(), fingerprint_array(music, RATE)
    close(merged, whole, ANYWHERE)
    assert merged.histogram == whole.histogram
    # The seam is silence to either side for the interpolator; music has its peak elsewhere.
    assert merged.extras["true_peak_dbtp"] == pytest.approx(whole.extras["true_peak_dbtp"], abs=0.1)


def test_parts_of_an_album_measure_as_the_album(music: Samples) -> None:
    parts = np.split(music, 5, axis=1)
    album = FeatureExtractor(RATE, 2)
    album.merge(*(fed(part) for part in parts))
    merged, whole = album.finish(), fingerprint_array(music, RATE)
    # Four seams: four times the tolerance of one. Parts of four seconds do not hold one window of the tempo
    # estimate, so its level may be another.
    close(merged, whole, {k: 4 * v for k, v in ON_THE_GRID.items()} | {"tempo_bpm": 210})
    assert any(merged["tempo_bpm"] == pytest.approx(m * whole["tempo_bpm"], rel=0.04) for m in (0.5, 1, 2))


def test_loudness_maxima_see_across_the_seam() -> None:
    # Loud for half a second on each side of the cut and soft elsewhere, by 18 dB.
    x = noise(8.0)
    x[:, : int(3.5 * RATE)] *= 0.125
    x[:, int(4.5 * RATE) :] *= 0.125
    first = fed(x[:, : 4 * RATE])
    first.merge(fed(x[:, 4 * RATE :]))
    merged, whole = first.finish(), fingerprint_array(x, RATE)
    for name in ("momentary_max", "short_term_max"):
        # On a 100 ms grid instead of 10 ms.
        assert merged.extras[name] == pytest.approx(whole.extras[name], abs=0.2)


def test_merging_into_nothing_is_the_other_to_the_bit() -> None:
    x = noise(5.0)
    empty = FeatureExtractor(RATE, 2)
    empty.merge(fed(x))
    assert empty.finish() == fingerprint_array(x, RATE)


def test_merging_nothing_changes_no_bit() -> None:
    x = noise(5.0)
    extractor = fed(x[:, : 3 * RATE])
    extractor.merge()
    extractor.merge(FeatureExtractor(RATE, 2))
    extractor.feed(np.ascontiguousarray(x[:, 3 * RATE :]))
    assert extractor.finish() == fingerprint_array(x, RATE)


def test_what_was_merged_in_stays_as_it_was() -> None:
    first, second = fed(noise(3.0)), fed(noise(3.0, seed=1))
    before = second.snapshot()
    first.merge(second, second)
    assert second.finish() == before
    assert first.frames == 9 * RATE


@settings(max_examples=12, deadline=None)
@given(
    first=st.integers(0, 3 * RATE),
    second=st.integers(1, 3 * RATE),
    rest=st.integers(0, RATE),
    seed=st.integers(0, 9),
)
def test_feeding_goes_on_after_a_merge(first: int, second: int, rest: int, seed: int) -> None:
    x = noise(8.0, seed)
    end = first + second
    short, long = fed(x[:, :first]), fed(x[:, :first])
    short.merge(fed(x[:, first:end]))
    short.feed(np.ascontiguousarray(x[:, end : end + rest]))
    long.merge(fed(x[:, first : end + rest]))
    if first + second + rest:
        nearly_equal(short.finish(), long.finish())


@settings(max_examples=8, deadline=None)
@given(quarters=st.sets(st.integers(1, 15), min_size=2, max_size=5), odd=st.integers(0, 500))
def test_grouping_does_not_matter(quarters: set[int], odd: int) -> None:
    x, cuts = noise(4.0), [q * RATE // 4 + odd for q in sorted(quarters)]
    parts = [x[:, a:b] for a, b in zip([0, *cuts], [*cuts, 4 * RATE], strict=True)]
    left, right = fed(parts[0]), [fed(p) for p in parts]
    left.merge(*(fed(p) for p in parts[1:]))
    for i in reversed(range(len(parts) - 1)):
        right[i].merge(right[i + 1])
    a, b = left.finish(), right[0].finish()
    assert (a.histogram, a.frames, a.flags) == (b.histogram, b.frames, b.flags)
    for d, u, v in zip(DIMENSIONS, a.values, b.values, strict=True):
        # The time of a part is right to 6 ms, which onsets feel; the rest are sums in another order.
        felt = 0.02 if d.group == "temporal" else 1e-4
        assert v == pytest.approx(u, abs=felt * (d.high - d.low)), d.name


def test_silence_between_takes_its_time() -> None:
    music = noise(8.0)
    gap = np.zeros((2, 5 * RATE + 123), np.float32)
    whole = fingerprint_array(np.concatenate([music, gap, music], axis=1), RATE)
    in_front = fed(music)
    in_front.merge(fed(np.concatenate([gap, music], axis=1)))
    alone = fed(music)
    alone.merge(fed(gap), fed(music))
    for merged in (in_front.finish(), alone.finish()):
        # In the whole, the high-pass rings on for some 50 ms of the silence.
        assert merged["silence_ratio"] == pytest.approx(whole["silence_ratio"], abs=0.004)
        assert merged["transient_density"] == pytest.approx(whole["transient_density"], abs=0.02)
        assert merged["tempo_bpm"] == pytest.approx(whole["tempo_bpm"], rel=0.005)
        assert merged.lufs == pytest.approx(whole.lufs, abs=0.1)


def test_non_finite_samples_and_channels_add_up() -> None:
    x, y = noise(1.0), noise(1.0, seed=1)
    y[1] = y[0]
    y[0, 5] = y[1, 5] = np.nan
    first = fed(y)
    first.merge(fed(y))
    both = first.snapshot()
    assert both.extras["non_finite_samples"] == 4
    assert "dual_mono" in both.flags
    first.merge(fed(x))
    assert "dual_mono" not in first.finish().flags


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1)])
def test_other_rates_and_channels_are_refused(rate: int, channels: int) -> None:
    first = fed(noise(1.0))
    with pytest.raises(ValueError, match=f"{channels} channels at {rate} Hz"):
        first.merge(FeatureExtractor(RATE, 2), FeatureExtractor(rate, channels))
    assert first.finish() == fingerprint_array(noise(1.0), RATE)  # nothing was merged


def test_finished_extractors_and_oneself_are_refused() -> None:
    first, second = fed(noise(1.0)), fed(noise(1.0))
    with pytest.raises(ValueError, match="itself"):
        first.merge(first)
    with pytest.raises(TypeError, match="str"):
        first.merge("second")  # type: ignore[arg-type]
    second.finish()
    with pytest.raises(ValueError, match="finished"):
        first.merge(second)
    with pytest.raises(ValueError, match="finished"):
        second.merge(first)


def test_an_extractor_at_work_in_another_thread_is_refused() -> None:
    busy, idle = FeatureExtractor(RATE, 2), FeatureExtractor(RATE, 2)
    x = noise(4.0)
    assert one_is_refused(lambda: busy.feed(x), lambda: idle.merge(busy))
    idle.merge(busy)  # and is free again
