"""What a board is made of, as plain data: rows, variables, annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sidelight.dashboards.panels.panel import Row
from sidelight.dashboards.promql import Expr, VectorSelector


@dataclass(frozen=True, slots=True)
class LabelVariable:
    """A variable filled with the values of one label."""

    name: str
    title: str
    description: str
    selector: VectorSelector
    label: str
    all_value: str
    offers_all: bool = True


@dataclass(frozen=True, slots=True)
class VariableOption:
    """What the reader sees and what is put into queries."""

    text: str
    value: str


@dataclass(frozen=True, slots=True)
class OptionsVariable:
    """A variable with fixed options."""

    name: str
    title: str
    description: str
    options: tuple[VariableOption, ...]
    default: VariableOption


@dataclass(frozen=True, slots=True)
class TextVariable:
    """A variable the reader types in."""

    name: str
    title: str
    description: str
    default: str


Variable = LabelVariable | OptionsVariable | TextVariable


@dataclass(frozen=True, slots=True)
class Annotation:
    """Events drawn over every chart."""

    name: str
    expression: Expr
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `question` is what a reader opens it for."""

    uid: str
    title: str
    question: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]

    def metrics(self) -> Iterator[tuple[str, str]]:
        """Every series name read, and where: `(title of a panel or name of a variable, series)`."""
        for row in self.rows:
            for panel in row.panels:
                for query in panel.queries:
                    for series in query.expression.metrics():
                        yield panel.title, series
        for variable in self.variables:
            if isinstance(variable, LabelVariable):
                for series in variable.selector.metrics():
                    yield variable.name, series
        for annotation in self.annotations:
            for series in annotation.expression.metrics():
                yield annotation.name, series
