"""Checks boards and alerts before they are published: they read metrics of the catalog only."""

from __future__ import annotations

from collections.abc import Iterable

from sidelight.dashboards.alerts.alert import Alert, AlertGroup, RecordingRule
from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.catalog.index import METRIC_BY_SERIES


class UndefinedMetricError(ValueError):
    """A board or an alert reads metrics that are not in the catalog."""


def undefined_metrics(board: Board) -> list[tuple[str, str]]:
    """What a board reads that is not in the catalog: `(panel, variable or annotation, series)`."""
    return sorted(
        {(place, series) for place, series in board.metrics() if series not in METRIC_BY_SERIES}
    )


def require_defined(boards: Iterable[Board], groups: Iterable[AlertGroup] = ()) -> None:
    """Raise `UndefinedMetricError` with every board, panel, alert and metric at fault."""
    faults = [
        f"{board.title}: {place!r} reads {metric}"
        for board in boards
        for place, metric in undefined_metrics(board)
    ]
    for group in groups:
        known = METRIC_BY_SERIES.keys() | {record.name for record in group.records}
        rules: tuple[RecordingRule | Alert, ...] = (*group.records, *group.alerts)
        faults += [
            f"{rule.name} reads {metric}"
            for rule in rules
            for metric in sorted(set(rule.expression.metrics()) - known)
        ]
    if faults:
        raise UndefinedMetricError(
            "metrics are read that are not in sidelight.dashboards.catalog (add them or correct "
            "the query): " + "; ".join(faults)
        )
