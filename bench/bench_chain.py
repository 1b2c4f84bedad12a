"""The chain and its stages, as real-time factors per core at 44.1 kHz stereo, in chunks of 2048 frames."""

import numpy as np
import pytest

import auralis_core as ac
from auralis_core.plan import Band, MasteringPlan

SR, SECONDS, CHUNK = 44100, 20, 2048

OCTAVES = tuple(Band("peaking", f, 1.0, 1.0) for f in (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0))
COLOUR = (Band("low_shelf", 150.0, 0.7, 1.5), Band("high_shelf", 7000.0, 0.7, -1.5))
PLANS = {
    "dry": ac.bypass_plan(),
    "expansion": MasteringPlan("adaptive", depth=1.0),
    "fill": MasteringPlan("adaptive", fill=0.2),
    "eq of 8 bands": MasteringPlan("adaptive", eq=OCTAVES + COLOUR),
    "leveller": MasteringPlan("adaptive", level_target=-14.0),
    "limiter idle": MasteringPlan("adaptive", gain_db=-12.0, ceiling=-1.0),
    "limiter busy": MasteringPlan("adaptive", gain_db=6.0, ceiling=-1.0),
    "compressed loud": MasteringPlan("warm", depth=1.0, fill=0.2, eq=COLOUR, gain_db=-9.0, ceiling=-1.0),
    "everything": MasteringPlan(
        "warm",
        depth=1.0,
        fill=0.2,
        eq=OCTAVES + COLOUR,
        gain_db=-6.0,
        width=1.1,
        level_target=-14.0,
        ceiling=-1.0,
    ),
}


@pytest.fixture(scope="module")
def chunks():
    rng = np.random.default_rng(1)
    t = np.arange(SR * SECONDS) / SR
    hits = np.exp(-((t * 4) % 1) * 8)
    x = np.sin(2 * np.pi * 110 * t) * (0.4 + hits) + 0.3 * hits * np.convolve(
        rng.standard_normal(t.size), [0.25, 0.5, 0.25], "same"
    )
    x = np.tanh(2.0 * np.stack([x, np.roll(x, 99)])).astype(np.float32)
    return [np.ascontiguousarray(x[:, at : at + CHUNK]) for at in range(0, x.shape[1], CHUNK)]


@pytest.mark.parametrize("name", PLANS)
def test_chain(benchmark, chunks, name):
    chain = ac.Chain(PLANS[name], SR, 2)

    def run():
        for chunk in chunks:
            chain.process(chunk)

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    benchmark.extra_info["realtime_factor"] = round(SECONDS / benchmark.stats.stats.median)
