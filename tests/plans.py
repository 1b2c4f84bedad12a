"""A plan with every stage at work, for tests that are about state, not about sound."""

from auralis_core.amplitudes import HEIGHTS
from auralis_core.plan import Band, MasteringPlan

EVERYTHING = MasteringPlan(
    "warm",
    curve=tuple((1.0 + 0.5 * HEIGHTS**3).tolist()),
    depth=0.8,
    top=0.9,
    clip=0.3,
    clip_blur=0.02,
    fill=0.2,
    lift_db=3.0,
    held=0.4,
    eq=(Band("peaking", 500.0, 1.0, 1.5), Band("high_shelf", 8000.0, 0.7, 2.0)),
    gain_db=3.0,
    level_target=-14.0,
    width=1.2,
    ceiling=-1.0,
)
