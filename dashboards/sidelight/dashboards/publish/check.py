"""Checks boards before they are published: panels may only read metrics of the catalog."""

from __future__ import annotations

from collections.abc import Iterable

from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.catalog.index import METRIC_BY_SERIES


class UndefinedMetricError(ValueError):
    """A board reads metrics that are not in the catalog."""


def undefined_metrics(board: Board) -> list[tuple[str, str]]:
    """What a board reads that is not in the catalog: `(panel, variable or annotation, series)`."""
    return sorted(
        {(place, series) for place, series in board.metrics() if series not in METRIC_BY_SERIES}
    )


def require_defined(boards: Iterable[Board]) -> None:
    """Raise `UndefinedMetricError` with every board, panel and metric at fault."""
    faults = [
        f"{board.title}: {place!r} reads {metric}"
        for board in boards
        for place, metric in undefined_metrics(board)
    ]
    if faults:
        raise UndefinedMetricError(
            "boards read metrics that are not in sidelight.dashboards.catalog (add them or correct "
            "the panel): " + "; ".join(faults)
        )
