"""The pictures of docs/benchmarks.md: how rate, CPU, latency and memory grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bench.collector.growth import AXES, LOAD, Axis
from bench.report import Figure

LOAD_PICTURE = "growth-with-load.png"
OTHERS_PICTURE = "growth.png"
# Okabe and Ito's colours, which the colour-blind can tell apart; markers differ as well.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}
_DOTS_PER_INCH = 150
_PAD_INCHES = 0.08
# Above the highest point.
_ROOM = 1.12

Figures = Mapping[str, Figure]


def draw(figures: Figures, directory: Path) -> list[Path]:
    """Write both pictures; returns where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context(_STYLE):
        for name, picture in ((LOAD_PICTURE, _load(figures)), (OTHERS_PICTURE, _others(figures))):
            path = directory / name
            # Without the date or the version, the same figures give the same file.
            picture.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Software": None})
            paths.append(path)
    return paths


def _line(
    axes: Axes,
    figures: Figures,
    axis: Axis,
    quantity: str,
    *,
    scale: float = 1.0,
    places: Sequence[float] | None = None,
    label: str = "",
    color: str = _BLUE,
    marker: str = "o",
) -> None:
    """Medians as a line; lowest and highest as bars."""
    found = [figures[axis.figure(point, quantity)] for point in axis.points]
    axes.errorbar(
        places or [point / 1_000 for point in axis.points],
        [each.value * scale for each in found],
        yerr=[
            [(each.value - each.lowest) * scale for each in found],
            [(each.highest - each.value) * scale for each in found],
        ],
        label=label,
        color=color,
        marker=marker,
        capsize=2.5,
        elinewidth=1.0,
    )


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=_PAD_INCHES, h_pad=_PAD_INCHES)


def _highest(figures: Figures, axes_of_growth: Sequence[Axis], quantity: str) -> float:
    return max(
        figures[axis.figure(point, quantity)].highest
        for axis in axes_of_growth
        for point in axis.points
    )


def _load(figures: Figures) -> Picture:
    picture = Picture(figsize=(9, 6.4), layout=_layout())
    rate, cpu, delay, memory = picture.subplots(2, 2, sharex=True).flat

    rate.set_title("Acknowledged, thousand spans/s")
    highest = LOAD.points[-1] / 1_000
    best = _highest(figures, [LOAD], "acknowledged") / 1_000
    rate.plot([0, highest], [0, highest], color=_GREY, linestyle="--", linewidth=1.2)
    rate.annotate(
        "all that is offered",
        (best * 1.15, best * 1.15),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=_GREY,
    )
    _line(rate, figures, LOAD, "acknowledged", scale=1e-3)
    rate.set_ylim(0, best * 1.25)

    cpu.set_title("CPU of the collector, % of one core")
    _line(cpu, figures, LOAD, "core", scale=100)
    cpu.set_ylim(0, 110)

    delay.set_title("From when a request was due, ms")
    for where, color, title in (
        ("until acknowledged", _BLUE, "acknowledged"),
        ("until at the destination", _ORANGE, "at the destination"),
    ):
        for percentile, marker in (("p50", "o"), ("p99", "^")):
            _line(
                delay,
                figures,
                LOAD,
                f"{percentile} {where}",
                label=f"{title}, {percentile}",
                color=color,
                marker=marker,
            )
    delay.set_yscale("log")
    delay.yaxis.set_major_formatter("{x:,g}")
    delay.legend(fontsize=8.5)

    memory.set_title("Peak memory of the collector, MiB")
    _line(memory, figures, LOAD, "peak memory", color=_GREEN)
    memory.set_ylim(0, _highest(figures, [LOAD], "peak memory") * _ROOM)
    for axes in (delay, memory):
        axes.set_xlabel("Offered, thousand spans/s")
        # The first point would lie on the axis.
        axes.set_xlim(-0.02 * highest, 1.03 * highest)
    return picture


def _others(figures: Figures) -> Picture:
    axes_of_growth = [axis for axis in AXES if axis is not LOAD]
    rows = (
        ("CPU", "CPU, µs/span", 1.0, _BLUE),
        ("acknowledged", "Acknowledged,\nthousand spans/s", 1e-3, _ORANGE),
        ("peak memory", "Peak memory, MiB", 1.0, _GREEN),
    )
    picture = Picture(figsize=(11, 7.2), layout=_layout())
    grid = picture.subplots(len(rows), len(axes_of_growth), sharex="col", sharey="row")
    for column, axis in enumerate(axes_of_growth):
        places = list(range(len(axis.points)))
        for row, (quantity, title, scale, color) in enumerate(rows):
            axes = grid[row][column]
            _line(axes, figures, axis, quantity, scale=scale, places=places, color=color)
            axes.set_ylim(0, _highest(figures, axes_of_growth, quantity) * scale * _ROOM)
            if column == 0:
                axes.set_ylabel(title)
        grid[-1][column].set_xticks(places, [f"{point:,}" for point in axis.points])
        grid[-1][column].set_xlabel(axis.unit.capitalize())
    picture.align_ylabels()
    return picture
