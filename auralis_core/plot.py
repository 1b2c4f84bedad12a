"""One track on one picture: where it lies in the restraint's plane, and what mastering does to it over time.

Left: the decision in the plane of loudness and crest, the spectrum before and after, the fingerprint.
Right, over time: short-term loudness and crest before and after, gain and the limiter's gain reduction.
Measured here with the same `Renderer` that serves the track; matplotlib is an extra and imported on use.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .audio import AudioReader
from .chain import eq_response_db
from .errors import AuralisError
from .features import FeatureExtractor
from .fingerprint import measure
from .plan import MasteringPlan, plan
from .render import ChunkRecord, Renderer
from .schema import DIMENSIONS, LTAS_CENTRES_HZ, Fingerprint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER, QUIET_INK, LIMITER = "#8a94a6", "#0b6e99", "#5b6472", "#c4473a"
REGIONS = {"compressed_loud": "#f6dcd7", "dynamic_loud": "#dcefe0", "quiet": "#e3ebf6"}


@dataclass(frozen=True, slots=True)
class Trace:
    """A track before and after, and what the chain recorded on the way, a row for every `step_s`."""

    plan: MasteringPlan
    before: Fingerprint
    after: Fingerprint
    step_s: float
    records: tuple[ChunkRecord, ...]

    def column(self, name: str) -> NDArray[np.float64]:
        """One field of the records over time."""
        return np.array([getattr(record, name) for record in self.records], np.float64)


def trace(
    path: str | PathLike[str],
    preset: str = "adaptive",
    intensity: float = 1.0,
    target: float | None = None,
    ceiling: float = -1.0,
) -> Trace:
    """Measure a track, plan for it, and render it from end to end, keeping numbers only.

    Raises
    ------
    ValueError, AudioReadError, AudioFormatError
        As `export.export`.
    """
    before = measure(path).fingerprint
    decided = plan(before, preset, intensity, target, ceiling)
    with AudioReader(path) as reader, Renderer(reader, decided) as renderer:
        # A tenth of a second where the track is short, and at most some 2000 points.
        step = max(reader.sample_rate // 10, -(-reader.frames // 2000))
        meter = FeatureExtractor(reader.sample_rate, reader.channels)
        records = []
        while (block := renderer.read(step)).shape[1]:
            meter.feed(block)
            records.append(renderer.record)
        return Trace(decided, before, meter.finish(), step / reader.sample_rate, tuple(records))


def blank(image: str | PathLike[str]) -> Figure:
    """What to draw on.

    Raises
    ------
    AuralisError
        matplotlib is not installed, or knows no format of `image`'s suffix, or its folder does not exist.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise AuralisError("plot needs matplotlib: pip install 'auralis-core[plot]'") from e
    figure = Figure(figsize=(15, 10), dpi=110, layout="constrained", facecolor="white")
    suffix = Path(image).suffix
    if suffix[1:].lower() not in figure.canvas.get_supported_filetypes():
        raise AuralisError(f"not a picture format: {suffix or 'no suffix'}", image)
    if not Path(image).parent.is_dir():
        raise AuralisError("its folder does not exist", image)
    return figure


def draw(traced: Trace, title: str, image: str | PathLike[str]) -> None:
    """Write the picture; the suffix of `image` is its format.

    Raises
    ------
    AuralisError
        As `blank`, or `image` cannot be written.
    """
    figure = blank(image)
    figure.suptitle(f"{title}\n{_summary(traced)}", fontsize=12, x=0.01, ha="left", color="#1d2430")
    halves = figure.add_gridspec(1, 2, width_ratios=(1.0, 1.35))
    column = halves[0].subgridspec(3, 1, height_ratios=(1.1, 1.0, 1.5))
    _draw_plane(figure.add_subplot(column[0]), traced)
    _draw_spectrum(figure.add_subplot(column[1]), traced)
    _draw_fingerprint(figure.add_subplot(column[2]), traced.before)
    rows = halves[1].subgridspec(3, 1, height_ratios=(1.3, 1.0, 1.0))
    loudness = figure.add_subplot(rows[0])
    _draw_loudness(loudness, traced)
    _draw_crest(figure.add_subplot(rows[1], sharex=loudness), traced)
    _draw_gain(figure.add_subplot(rows[2], sharex=loudness), traced)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=QUIET_INK)
    try:
        figure.savefig(image)
    except OSError as e:
        raise AuralisError(e.strerror or "cannot be written", image) from e


def _summary(traced: Trace) -> str:
    p = traced.plan
    parts = [p.region.replace("_", " "), f"preset {p.preset} at {p.intensity:g}"]
    if p.decision is not None and p.decision.expansion:
        parts.append(f"expansion {p.decision.expansion:.2f}")
    parts.append(f"gain {p.gain_db:+.1f} dB")
    return " · ".join(parts)


def _head(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, fontsize=9.5, loc="left", color="#1d2430")
    axes.set_ylabel(unit, fontsize=8, color=QUIET_INK)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_plane(axes: Axes, traced: Trace) -> None:
    a, b = traced.before, traced.after
    x = (min(-24.0, a.lufs - 2, b.lufs - 2), max(-4.0, a.lufs + 2))
    y = (min(2.0, a.crest_db - 1), max(20.0, a.crest_db + 2, b.crest_db + 2))
    axes.fill_between([x[0], -12.0], *y, color=REGIONS["quiet"], linewidth=0)
    axes.fill_between([-12.0, x[1]], y[0], 13.0, color=REGIONS["compressed_loud"], linewidth=0)
    axes.fill_between([-12.0, x[1]], 13.0, y[1], color=REGIONS["dynamic_loud"], linewidth=0)
    for text, at_x, at_y, va in (
        ("quiet", x[0] + 0.3, y[1] - 0.3, "top"),
        ("dynamic loud", -11.8, y[1] - 0.3, "top"),
        ("compressed loud", -11.8, y[0] + 0.3, "bottom"),
    ):
        axes.text(at_x, at_y, text, fontsize=8, color=QUIET_INK, va=va)
    arrow = {"arrowstyle": "->", "color": AFTER, "linewidth": 1.4, "shrinkA": 4, "shrinkB": 4}
    axes.annotate("", (b.lufs, b.crest_db), (a.lufs, a.crest_db), arrowprops=arrow)
    axes.plot(a.lufs, a.crest_db, "o", color=BEFORE, label=f"in {a.lufs:.1f} LUFS, crest {a.crest_db:.1f} dB")
    axes.plot(b.lufs, b.crest_db, "o", color=AFTER, label=f"out {b.lufs:.1f} LUFS, crest {b.crest_db:.1f} dB")
    axes.set(xlim=x, ylim=y)
    axes.set_xlabel("integrated loudness, LUFS", fontsize=8, color=QUIET_INK)
    _head(axes, "Decision", "crest, dB")
    axes.legend(fontsize=8, framealpha=0.85, loc="lower left")


def _draw_spectrum(axes: Axes, traced: Trace) -> None:
    below = [f for f in LTAS_CENTRES_HZ if f < 0.49 * traced.before.sample_rate]
    before, after = (np.asarray(fp.ltas_db)[: len(below)] for fp in (traced.before, traced.after))
    axes.semilogx(below, before, color=BEFORE, label="in")
    axes.semilogx(below, after, color=AFTER, label="out")
    top = max(before.max(), after.max())
    axes.set(ylim=(top - 70.0, top + 5.0), xlim=(below[0], below[-1]))
    axes.set_xticks([31.5, 125, 500, 2000, 8000], ["31", "125", "500", "2k", "8k"])
    axes.minorticks_off()
    axes.set_xlabel("Hz", fontsize=8, color=QUIET_INK, labelpad=1)
    _head(axes, "Long-term spectrum, third octaves", "dB")
    handles, labels = axes.get_legend_handles_labels()
    if traced.plan.eq:
        other = axes.twinx()
        f = np.geomspace(below[0], below[-1], 200)
        handles += other.plot(
            f, eq_response_db(traced.plan.eq, traced.before.sample_rate, f), ":", color=LIMITER
        )
        labels.append("EQ, right scale")
        other.set_ylim(-9.0, 9.0)
        other.tick_params(labelsize=8, colors=LIMITER)
    axes.legend(handles, labels, fontsize=8, framealpha=0.85, loc="lower left")


def _draw_fingerprint(axes: Axes, fp: Fingerprint) -> None:
    """Every dimension within the range the schema gives it, and its value."""
    share = [(fp[d.name] - d.low) / (d.high - d.low) for d in DIMENSIONS]
    rows = np.arange(len(DIMENSIONS))
    groups = list(dict.fromkeys(d.group for d in DIMENSIONS))
    shades = ("#0b6e99", "#7a5ea8", "#3d8b63", "#b5762a", "#8a94a6", "#c4473a", "#4f6db8", "#6b7d2e")
    colours = [shades[groups.index(d.group) % len(shades)] for d in DIMENSIONS]
    axes.barh(rows, np.clip(share, 0.0, 1.0), color=colours, height=0.62)
    for row, d in enumerate(DIMENSIONS):
        axes.text(1.01, row, f"{fp[d.name]:.4g} {d.unit}", fontsize=6.5, va="center", color=QUIET_INK)
    axes.set_yticks(rows, [d.name for d in DIMENSIONS])
    axes.set(xlim=(0, 1.22), ylim=(len(DIMENSIONS) - 0.4, -0.6))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    _head(axes, "Fingerprint, each number within its range", "")
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels():
        label.set_fontsize(6.5)


def _seconds(traced: Trace) -> NDArray[np.float64]:
    return np.linspace(traced.step_s, traced.step_s * len(traced.records), len(traced.records))


def _draw_loudness(axes: Axes, traced: Trace) -> None:
    t, before, after = _seconds(traced), traced.column("lufs_in"), traced.column("lufs_out")
    axes.plot(t, before, color=BEFORE, linewidth=1.2, label="in")
    axes.plot(t, after, color=AFTER, linewidth=1.2, label="out")
    for fp, colour in ((traced.before, BEFORE), (traced.after, AFTER)):
        axes.axhline(fp.lufs, color=colour, linestyle="--", linewidth=0.9, label=f"whole track {fp.lufs:.1f}")
    heard = np.concatenate([before, after])
    top = float(heard.max())
    axes.set(xlim=(0, t[-1]), ylim=(max(float(np.percentile(heard, 2)) - 3.0, top - 40.0), top + 3.0))
    _head(axes, "Short-term loudness (3 s)", "LUFS")
    axes.legend(fontsize=8, ncols=4, framealpha=0.85, loc="lower center")


def _draw_crest(axes: Axes, traced: Trace) -> None:
    t = _seconds(traced)
    axes.plot(t, traced.column("crest_in"), color=BEFORE, linewidth=1.2, label="in")
    axes.plot(t, traced.column("crest_out"), color=AFTER, linewidth=1.2, label="out")
    axes.axhline(13.0, color=QUIET_INK, linestyle=":", linewidth=0.9)
    axes.set_ylim(bottom=0.0)
    _head(axes, "Short-term crest (3 s); dotted: 13 dB, where loud music counts as dynamic", "dB")
    axes.legend(fontsize=8, ncols=2, framealpha=0.85, loc="lower center")


def _draw_gain(axes: Axes, traced: Trace) -> None:
    t, gain, reduction = _seconds(traced), traced.column("gain_db"), traced.column("gain_reduction_db")
    axes.plot(t, gain, color=AFTER, linewidth=1.2, label="gain")
    axes.fill_between(
        t, gain, gain - reduction, color=LIMITER, alpha=0.55, linewidth=0, label="limiter takes off"
    )
    low, high = float((gain - reduction).min()), float(gain.max())
    axes.set_ylim(min(low - 0.5, -1.0), max(high + 0.5, 1.0))
    axes.axhline(0.0, color=QUIET_INK, linewidth=0.6)
    _head(axes, "Gain, and what the limiter takes off it", "dB")
    axes.set_xlabel("seconds", fontsize=8, color=QUIET_INK)
    axes.legend(fontsize=8, ncols=2, framealpha=0.85, loc="lower center")


def plot(
    path: str | PathLike[str],
    image: str | PathLike[str] | None = None,
    preset: str = "adaptive",
    intensity: float = 1.0,
    target: float | None = None,
    ceiling: float = -1.0,
) -> dict[str, Any]:
    """Draw the file at `path` into `image`, by default its name with ``.png`` in the current folder.

    Returns
    -------
    dict
        What ``auralis plot --json`` prints: path, image, decision, levels in and out.
    """
    drawn = Path(f"{Path(path).stem}.png") if image is None else Path(image)
    blank(drawn)  # so that nobody waits for a picture that cannot be drawn
    traced = trace(path, preset, intensity, target, ceiling)
    draw(traced, Path(path).name, drawn)
    levels = {
        name: {"lufs": fp.lufs, "crest_db": fp.crest_db, "true_peak_dbtp": fp.extras["true_peak_dbtp"]}
        for name, fp in (("input", traced.before), ("output", traced.after))
    }
    return {
        "path": fspath(path),
        "image": str(drawn),
        "decision": traced.plan.to_dict()["decision"],
        **levels,
    }
