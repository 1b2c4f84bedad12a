"""The chain and its stages as real-time factors per core at 44.1 kHz stereo, and ratios to peers in one run.

`test_chain` times each plan alone, in chunks of 2048 frames. `test_peers` lets the whole chain, our limiter
alone, pedalboard's chains and ffmpeg's limiter take turns over the same samples. pedalboard is GPL: it is
used here through its public interface when somebody has installed it, and is no dependency of anything.
"""

import subprocess
from pathlib import Path
from shutil import which

import numpy as np
import pytest

import auralis_core as ac
from auralis_core.bench import best, music
from auralis_core.plan import Band, MasteringPlan

SR, SECONDS, CHUNK = 44100, 20, 2048

OCTAVES = tuple(Band("peaking", f, 1.0, 1.0) for f in (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0))
COLOUR = (Band("low_shelf", 150.0, 0.7, 1.5), Band("high_shelf", 7000.0, 0.7, -1.5))
PLANS = {
    "dry": ac.bypass_plan(),
    "declip": MasteringPlan("adaptive", clip=0.9),
    "expansion": MasteringPlan("adaptive", depth=1.0),
    "fill": MasteringPlan("adaptive", fill=0.2, lift_db=3.0, held=0.5),
    "eq of 8 bands": MasteringPlan("adaptive", eq=OCTAVES + COLOUR),
    "leveller": MasteringPlan("adaptive", level_target=-14.0),
    "limiter idle": MasteringPlan("adaptive", gain_db=-12.0, ceiling=-1.0),
    "limiter busy": MasteringPlan("adaptive", gain_db=6.0, ceiling=-1.0),
    "compressed loud": MasteringPlan(
        "warm", depth=1.0, fill=0.2, lift_db=3.0, held=0.5, eq=COLOUR, gain_db=-9.0, ceiling=-1.0
    ),
    "everything": MasteringPlan(
        "warm",
        clip=0.9,
        depth=1.0,
        fill=0.2,
        lift_db=3.0,
        held=0.5,
        eq=OCTAVES + COLOUR,
        gain_db=-3.0,
        width=1.1,
        level_target=-14.0,
        ceiling=-1.0,
    ),
}


@pytest.fixture(scope="module")
def chunks():
    """Music driven into saturation, so that every stage has work; made here where no recording is."""
    song = Path(__file__).resolve().parents[2] / "shared" / "audio" / "lets_go_fishin.ogg"
    if song.exists():
        with ac.audio.AudioReader(song) as reader:
            reader.seek(40 * SR)
            x = np.tanh(3.0 * reader.read(SECONDS * SR)).astype(np.float32)
    else:
        x = np.tanh(6.0 * music(SECONDS)).astype(np.float32)
    return [np.ascontiguousarray(x[:, at : at + CHUNK]) for at in range(0, x.shape[1], CHUNK)]


@pytest.mark.parametrize("name", PLANS)
def test_chain(benchmark, chunks, name):
    chain = ac.Chain(PLANS[name], SR, 2)

    def run():
        for chunk in chunks:
            chain.process(chunk)

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    benchmark.extra_info["realtime_factor"] = round(SECONDS / benchmark.stats.stats.min)


def test_limiter_alone_at_6_db_of_drive(benchmark, chunks):
    loud = [2.0 * chunk for chunk in chunks]
    limiter = ac.Limiter(SR, 2)

    def run():
        for chunk in loud:
            limiter.process(chunk)

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    benchmark.extra_info["realtime_factor"] = round(SECONDS / benchmark.stats.stats.min)


def alimiter_s(path):
    """ffmpeg's limiter over a file, less ffmpeg over it without: what the filter itself costs."""

    def run(*graph):
        quiet = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(path), *graph]
        subprocess.run([*quiet, "-f", "null", "-"], check=True)

    with_it, without = best(lambda: run("-af", "alimiter=level_in=2:limit=.89"), run, rounds=5)
    return with_it - without


def test_peers(benchmark, chunks, tmp_path, capsys):
    pedalboard = pytest.importorskip(
        "pedalboard", reason="pedalboard is not installed (GPL: never a dependency)"
    )
    chunks = chunks[: SR // CHUNK]  # short turns and many: some fall between the work of others
    seconds_each = CHUNK * len(chunks) / SR
    loud = [2.0 * chunk for chunk in chunks]
    ours, limiter = ac.Chain(PLANS["everything"], SR, 2), ac.Limiter(SR, 2)
    eq = [pedalboard.PeakFilter(f, 1.0, 1.0) for f in (125.0, 500.0, 2000.0)]
    eq = [pedalboard.LowShelfFilter(100.0, 1.5), *eq, pedalboard.HighShelfFilter(7000.0, -1.5)]
    dynamics = [pedalboard.Compressor(-18.0, 3.0), pedalboard.Limiter(-1.0)]
    chains = {
        "ours, everything on": lambda: [ours.process(c) for c in chunks],
        "ours, limiter at 6 dB": lambda: [limiter.process(c) for c in loud],
        "pedalboard EQ(5)+Compressor+Limiter": _board(pedalboard, [*eq, *dynamics], chunks),
        "pedalboard Compressor+Limiter": _board(pedalboard, dynamics, chunks),
    }
    times = dict(zip(chains, best(*chains.values(), rounds=200), strict=True))
    if which("ffmpeg"):
        path = tmp_path / "x.wav"
        ac.audio.write(path, np.concatenate(chunks * 60, axis=1), SR, "FLOAT")
        times["ffmpeg alimiter at 6 dB"] = alimiter_s(path) / 60
    benchmark.pedantic(chains["ours, everything on"], rounds=5)
    benchmark.extra_info.update({name: round(seconds_each / s) for name, s in times.items()})
    with capsys.disabled():
        print()
        for name, seconds in times.items():
            ratio = seconds / times["ours, everything on"]
            print(
                f"{name:<38}{seconds_each / seconds:6.0f} × real time   {ratio:5.2f} × the time of our chain"
            )


def _board(pedalboard, plugins, chunks):
    board = pedalboard.Pedalboard(plugins)
    return lambda: [board(c, SR, reset=False) for c in chunks]
