"""What presets, targets and intensity promise, on the output audio of real recordings."""

from functools import cache

import numpy as np
import pytest

import auralis_core as ac
from auralis_core import audio

PIECES = ("lets_go_fishin", "vibe_ace", "sugar_plum_fairy", "solo_trumpet", "speech")
VERSIONS_DB = (6.0, 0.0, -6.0, -12.0)


@cache
def excerpt(folder, name):
    with audio.AudioReader(folder / f"{name}.ogg") as reader:
        reader.seek(reader.frames // 4)
        x = reader.read(10 * reader.sample_rate)
        return (np.repeat(x, 2, axis=0) if len(x) == 1 else x), reader.sample_rate


@cache
def version(folder, name, change_db):
    x, rate = excerpt(folder, name)
    y = (x * 10.0 ** (change_db / 20.0)).astype(np.float32)
    return y, rate, ac.fingerprint_array(y, rate)


def mastered(folder, name, change_db, *args, **kwargs):
    x, rate, fp = version(folder, name, change_db)
    plan = ac.plan(fp, *args, **kwargs)
    return plan, ac.fingerprint_array(ac.render_array(x, rate, plan), rate)


def stated_shortfall(plan):
    notes = [note for note in plan.notes if "short of" in note]
    return float(notes[0].split(":")[1].split()[0]) if notes else 0.0


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("change_db", VERSIONS_DB)
def test_a_quiet_recording_lands_on_the_target_or_the_stated_shortfall(shared_audio, name, change_db):
    plan, out = mastered(shared_audio, name, change_db)
    assert out.extras["true_peak_dbtp"] <= -1.0 + 1e-6 or plan.ceiling is None
    if plan.decision.region == "quiet":
        assert out.lufs == pytest.approx(-14.0 - stated_shortfall(plan), abs=0.3)
        assert out.lufs <= -12.0


@pytest.mark.parametrize("name", PIECES)
def test_a_second_master_of_the_first_changes_next_to_nothing(shared_audio, name):
    x, rate, fp = version(shared_audio, name, -6.0)
    once = ac.render_array(x, rate, ac.plan(fp))
    first = ac.fingerprint_array(once, rate)
    second = ac.fingerprint_array(ac.render_array(once, rate, ac.plan(first)), rate)
    if fp.lufs <= -12.0:
        assert abs(second.lufs - first.lufs) < 0.2


@pytest.mark.parametrize("name", ["vibe_ace", "sugar_plum_fairy"])
def test_a_whole_track_bound_by_its_peaks_is_not_limited_again(shared_audio, name):
    """Its peaks pile up under the ceiling, which tells it from one that merely reaches there."""
    with audio.AudioReader(shared_audio / f"{name}.ogg") as reader:
        rate, x = reader.sample_rate, reader.read(reader.frames)
    fp = ac.fingerprint_array(x, rate)
    plan = ac.plan(fp)
    assert stated_shortfall(plan) > 0.5
    once = ac.render_array(x, rate, plan)
    first = ac.fingerprint_array(once, rate)
    again = ac.plan(first)
    assert any("limited before" in note for note in again.notes)
    second = ac.fingerprint_array(ac.render_array(once, rate, again), rate)
    assert abs(second.lufs - first.lufs) < 0.2
    # The same track with its peaks just there: 3 dB may still be taken off them.
    there = np.float32(10.0 ** ((-1.25 - fp.extras["true_peak_dbtp"]) / 20.0)) * x
    assert ac.plan(ac.fingerprint_array(there, rate)).gain_db > 2.0


INTENSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


@cache
def damaged(folder, name, how):
    """The recording at -24 LUFS, or squashed to -8."""
    x, rate = excerpt(folder, name)
    low, high = -40.0, 50.0
    for _ in range(14):
        gain = 0.5 * (low + high)
        y = np.ascontiguousarray(DAMAGE[how][1](x * 10.0 ** (gain / 20.0)), np.float32)
        meter = ac.Meter(rate, 2)
        meter.feed(y)
        low, high = (low, gain) if meter.integrated > DAMAGE[how][0] else (gain, high)
    return y, rate, ac.fingerprint_array(y, rate)


DAMAGE = {
    "quiet": (-24.0, lambda x: x),
    "clipped": (-8.0, lambda x: np.clip(x, -1.0, 1.0)),
    "saturated": (-8.0, np.tanh),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("preset", ac.PRESETS)
def test_more_intensity_is_never_less_effect(shared_audio, preset, how):
    """A quiet recording comes up towards its target step by step; a loud one gets crest and goes down."""
    x, rate, fp = damaged(shared_audio, "lets_go_fishin", how)
    out = [ac.fingerprint_array(ac.render_array(x, rate, ac.plan(fp, preset, i)), rate) for i in INTENSITIES]
    loudness = np.diff([o.lufs for o in out])
    if how == "quiet":
        assert (loudness > 1.0).all()
        return
    # A colour has a crest and a loudness of its own, of which the plan takes off what it can foresee.
    assert (loudness < 0.02).all()
    assert (np.diff([o.crest_db for o in out]) > -0.05).all()
    assert out[-1].crest_db > out[0].crest_db + 0.2


def tilt(fp, base, low, high):
    """What a preset does to a band against the middle, relative to adaptive, dB."""

    def band(f, low, high):
        levels = zip(ac.schema.LTAS_CENTRES_HZ, f.ltas_db, strict=True)
        return 10 * np.log10(sum(10 ** (x / 10) for hz, x in levels if low <= hz <= high))

    return (band(fp, low, high) - band(fp, 400, 1300)) - (band(base, low, high) - band(base, 400, 1300))


#: Preset to what is heard of it on real music: band in Hz, and between which dB it moves against adaptive.
HEARD = {
    "warm": [((40, 100), (0.7, 2.0)), ((8000, 16000), (-2.0, -0.6))],
    "bright": [((3000, 4500), (0.5, 1.5)), ((10000, 16000), (1.2, 3.0))],
    "punchy": [((40, 80), (0.7, 2.0)), ((8000, 16000), (-0.3, 0.3))],
    "gentle": [((40, 100), (-1.0, 1.0)), ((8000, 16000), (-1.0, 1.0))],
}


@pytest.mark.parametrize("preset", list(HEARD))
def test_each_preset_is_heard_where_it_says(shared_audio, preset):
    base = mastered(shared_audio, "lets_go_fishin", -6.0)[1]
    out = mastered(shared_audio, "lets_go_fishin", -6.0, preset)[1]
    for (low, high), (least, most) in HEARD[preset]:
        assert least <= tilt(out, base, low, high) <= most


def test_presets_differ_in_level_as_their_targets_say(shared_audio):
    out = {preset: mastered(shared_audio, "lets_go_fishin", -12.0, preset) for preset in ac.PRESETS}
    for preset, (plan, fp) in out.items():
        if plan.decision.region == "quiet":
            assert fp.lufs == pytest.approx(ac.PRESETS[preset].target - stated_shortfall(plan), abs=0.35)
    assert out["gentle"][1].lufs < out["adaptive"][1].lufs
