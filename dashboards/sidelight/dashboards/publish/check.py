"""Checks boards before they are published: no panel may read a metric that nobody defines."""

from __future__ import annotations

from collections.abc import Iterable

from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.catalog.index import METRIC_BY_SERIES


class UndefinedMetricError(ValueError):
    """A board reads metrics that neither the catalog nor `sidelight.conventions` defines."""


def undefined_metrics(board: Board) -> list[tuple[str, str]]:
    """What a board reads though nobody defines it: `(panel, variable or annotation, metric)`."""
    return sorted(
        {(place, series) for place, series in board.metrics() if series not in METRIC_BY_SERIES}
    )


def require_defined(boards: Iterable[Board]) -> None:
    """Raises `UndefinedMetricError`, naming every board, panel and metric at fault."""
    faults = [
        f"{board.title}: {place!r} reads {metric}"
        for board in boards
        for place, metric in undefined_metrics(board)
    ]
    if faults:
        raise UndefinedMetricError(
            "metrics that nobody defines (add them to sidelight.dashboards.catalog or "
            "sidelight.conventions, or correct the panel): " + "; ".join(faults)
        )
