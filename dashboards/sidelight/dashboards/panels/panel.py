"""What rows are made of, as plain data: panels, their queries and thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sidelight.dashboards.promql import Expr
from sidelight.dashboards.view import View

GREEN = "green"
AMBER = "orange"
RED = "red"

# Grafana's ids of units.
SECONDS = "s"
MILLISECONDS = "ms"
SHARE = "percentunit"
REQUESTS_PER_SECOND = "reqps"
EVENTS_PER_SECOND = "eps"
COUNTS_PER_SECOND = "cps"
TOKENS = "locale"
COUNT = "short"
BYTES = "bytes"
WATTS = "watt"

PanelKind = Literal["timeseries", "stat", "heatmap"]

# The legend of queries by instance and engine.
BY_ENGINE = "{{instance}} engine {{engine}}"

Quantiles = tuple[tuple[float, str], ...]
"""Shares, each with its name in legends."""

# Where the slow ones matter, and where both ends do.
UPPER: Quantiles = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
SPREAD: Quantiles = ((0.1, "p10"), (0.5, "p50"), (0.9, "p90"))

THIRD = 8
QUARTER = 6
HALF = 12


def by(*labels: str) -> str:
    """A legend that shows the values of labels."""
    return " ".join("{{" + label + "}}" for label in labels)


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One query of a panel; `exemplars` asks Prometheus for trace ids beside the series."""

    expression: Expr
    legend: str
    exemplars: bool = False


def quantiles(
    query: Callable[[View, float], Expr], view: View, shares: Quantiles, *, exemplars: bool = False
) -> tuple[PanelQuery, ...]:
    """One query for each quantile; the last one asks for exemplars, if any does."""
    return tuple(
        PanelQuery(query(view, share), name, exemplars and (share, name) == shares[-1])
        for share, name in shares
    )


@dataclass(frozen=True, slots=True)
class Threshold:
    """From this value on (in the panel's unit) the panel shows this colour."""

    value: float
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, in `base_colour` below its thresholds; sizes are in Grafana's grid units.

    The axis never goes beyond `maximum` and always reaches `soft_maximum`, by default a small value
    of the unit: without either, Grafana draws a series of zeros on an axis up to 100 of the unit,
    which is 10,000 % for a share. `empty_text` is what it says where it has no data.
    A stat that `shows_names` shows the legends of its series instead of their values.
    """

    title: str
    description: str
    unit: str
    queries: tuple[PanelQuery, ...]
    thresholds: tuple[Threshold, ...] = ()
    base_colour: str = GREEN
    kind: PanelKind = "timeseries"
    width: int = THIRD
    height: int = 8
    maximum: float | None = None
    soft_maximum: float | None = None
    stacked: bool = False
    empty_text: str = ""
    shows_names: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]
