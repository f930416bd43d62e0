"""The alerts Sidelight publishes."""

from __future__ import annotations

from sidelight.dashboards.alerts import (
    capacity,
    collector,
    engine,
    injector,
    requests,
    retrieval,
)
from sidelight.dashboards.alerts.alert import AlertGroup
from sidelight.dashboards.view import View

# Each condition has its own windows; this is the one where it names none.
_WINDOW = "5m"


def alert_groups(view: View | None = None) -> tuple[AlertGroup, ...]:
    """All alerts, on the series that a view selects; on all series without one."""
    selected = view or View({}, _WINDOW)
    return tuple(
        topic.group(selected)
        for topic in (engine, capacity, requests, retrieval, collector, injector)
    )
