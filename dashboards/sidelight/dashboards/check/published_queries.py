"""Every query that is published, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sidelight.dashboards.alerts.alert import AlertGroup
from sidelight.dashboards.boards.board import Board, LabelVariable
from sidelight.dashboards.promql import Aggregation, Expr
from sidelight.dashboards.scaling import ScalingSignal

Kind = Literal["panel", "variable", "annotation", "rule", "alert", "scaler"]


@dataclass(frozen=True, slots=True)
class PublishedQuery:
    """One query; alerts and annotations are right to return nothing."""

    kind: Kind
    place: str
    expression: Expr


def published_queries(
    boards: Iterable[Board], groups: Iterable[AlertGroup], scalers: Iterable[ScalingSignal]
) -> Iterator[PublishedQuery]:
    """The queries of all panels, variables, annotations, rules, alerts and autoscalers."""
    for signal in scalers:
        yield PublishedQuery("scaler", signal.name, signal.expression)
    for board in boards:
        yield from _of_board(board)
    for group in groups:
        for record in group.records:
            labels = " ".join(value for _, value in record.labels)
            yield PublishedQuery("rule", f"{record.name} {labels}".strip(), record.expression)
        for alert in group.alerts:
            labels = " ".join(value for _, value in alert.labels)
            yield PublishedQuery("alert", f"{alert.name} {labels}".strip(), alert.expression)


def _of_board(board: Board) -> Iterator[PublishedQuery]:
    for row in board.rows:
        for panel in row.panels:
            for query in panel.queries:
                place = f"{board.title} / {panel.title} ({query.legend})"
                yield PublishedQuery("panel", place, query.expression)
    for variable in board.variables:
        if isinstance(variable, LabelVariable):
            values = Aggregation("count", variable.selector, (variable.label,))
            yield PublishedQuery("variable", f"{board.title} / ${variable.name}", values)
    for annotation in board.annotations:
        place = f"{board.title} / {annotation.name}"
        yield PublishedQuery("annotation", place, annotation.expression)
