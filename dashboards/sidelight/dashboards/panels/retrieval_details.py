"""Retrieval in depth, from spans: outcomes and the distribution of durations."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.panels.panel import (
    HALF,
    REQUESTS_PER_SECOND,
    SECONDS,
    Panel,
    PanelQuery,
    Row,
    by,
)
from sidelight.dashboards.queries import retrieval as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Outcomes and durations."""
    return Row("Searches in depth", (outcomes(view), duration_distribution(view)))


def outcomes(view: View) -> Panel:
    """How searches end, by collection."""
    return Panel(
        "Searches by outcome",
        "Queries per second in spans, by collection and outcome: found, empty, error, or unknown "
        "if the span does not say.",
        REQUESTS_PER_SECOND,
        (PanelQuery(queries.searches(view.per("collection")), by(own.DB_COLLECTION, own.OUTCOME)),),
        width=HALF,
        stacked=True,
        soft_maximum=1,
    )


def duration_distribution(view: View) -> Panel:
    """All durations, not their quantiles."""
    return Panel(
        "Search duration, distribution",
        "Searches per second by their duration, in spans.",
        SECONDS,
        (PanelQuery(queries.search_heatmap(view), by("le"), exemplars=True),),
        kind="heatmap",
        width=HALF,
    )
