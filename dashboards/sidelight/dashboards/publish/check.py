"""Checks boards before they are published: no panel may read a metric that nobody defines."""

from __future__ import annotations

from collections.abc import Iterable

from sidelight.dashboards.catalog.vllm import defined_names
from sidelight.dashboards.panels.panel import Board


class UndefinedMetricError(ValueError):
    """A board reads metrics that neither the catalog nor `sidelight.conventions` defines."""


def undefined_metrics(board: Board) -> list[tuple[str, str]]:
    """What a board reads though nobody defines it: `(panel, variable or annotation, metric)`."""
    known = defined_names()
    return sorted({(place, metric) for place, metric in board.metrics() if metric not in known})


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
