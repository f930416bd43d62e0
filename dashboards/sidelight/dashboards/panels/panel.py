"""What rows are made of, as plain data: panels, their queries and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sidelight.dashboards.promql import Expr

GREEN = "green"
AMBER = "orange"
RED = "red"

# Grafana's ids of units.
SECONDS = "s"
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
