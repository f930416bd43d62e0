"""Checks boards and alerts before they are published: they read metrics of the catalog only."""

from __future__ import annotations

from collections.abc import Iterable

from sidelight.dashboards.alerts.alert import AlertGroup
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
    faults += [
        f"{alert.name} reads {metric}"
        for group in groups
        for alert in group.alerts
        for metric in sorted(set(alert.expression.metrics()) - METRIC_BY_SERIES.keys())
    ]
    if faults:
        raise UndefinedMetricError(
            "metrics are read that are not in sidelight.dashboards.catalog (add them or correct "
            "the query): " + "; ".join(faults)
        )
