"""What a board is made of, as plain data: targets, panels, rows, variables, annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sidelight.dashboards.promql import Expr, Selector

GREEN = "green"
AMBER = "orange"
RED = "red"

# Grafana's ids of units.
SECONDS = "s"
SHARE = "percentunit"
REQUESTS_PER_SECOND = "reqps"
EVENTS_PER_SECOND = "eps"
COUNTS_PER_SECOND = "cps"
COUNT = "short"
BYTES = "bytes"

THIRD = 8
QUARTER = 6
HALF = 12


def by(*labels: str) -> str:
    """A legend that shows the values of labels."""
    return " ".join("{{" + label + "}}" for label in labels)


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel; `exemplars` asks Prometheus for trace ids beside the series."""

    expression: Expr
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """From this value on (in the panel's unit) the panel shows this colour."""

    value: float
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. Limits start from `base`; width and height are in Grafana's grid units."""

    title: str
    description: str
    unit: str
    targets: tuple[Target, ...]
    limits: tuple[Limit, ...] = ()
    base: str = GREEN
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = THIRD
    height: int = 8
    maximum: float | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class LabelVariable:
    """A variable filled with the values of one label."""

    name: str
    title: str
    description: str
    series: Selector
    label: str
    everything: str
    offers_all: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """What the reader sees and what is put into queries."""

    text: str
    value: str


@dataclass(frozen=True, slots=True)
class ChoiceVariable:
    """A variable with fixed choices."""

    name: str
    title: str
    description: str
    choices: tuple[Choice, ...]
    default: Choice


@dataclass(frozen=True, slots=True)
class TextVariable:
    """A variable the reader types in."""

    name: str
    title: str
    description: str
    default: str


Variable = LabelVariable | ChoiceVariable | TextVariable


@dataclass(frozen=True, slots=True)
class Annotation:
    """Events drawn over every chart."""

    name: str
    expression: Expr
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]

    def metrics(self) -> Iterator[tuple[str, str]]:
        """Every metric read, with where: `(title of the panel or name of the variable, metric)`."""
        for row in self.rows:
            for panel in row.panels:
                for target in panel.targets:
                    for metric in target.expression.metrics():
                        yield panel.title, metric
        for variable in self.variables:
            if isinstance(variable, LabelVariable):
                for metric in variable.series.metrics():
                    yield variable.name, metric
        for annotation in self.annotations:
            for metric in annotation.expression.metrics():
                yield annotation.name, metric
