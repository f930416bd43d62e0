"""Retrieval: vector searches as instrumented clients in apps measure them."""

from __future__ import annotations

from sidelight.dashboards.catalog.sidelight import (
    DB_COLLECTION,
    DB_OPERATION,
    DB_SYSTEM,
    ERROR_TYPE,
)
from sidelight.dashboards.panels.panel import (
    AMBER,
    QUARTER,
    RED,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
)
from sidelight.dashboards.queries import retrieval as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Load, latency, empty results and errors."""
    return Row(
        "Retrieval",
        (
            calls(view),
            search_duration(view),
            empty_searches(view),
            errors(view),
        ),
    )


def calls(view: View) -> Panel:
    """Load, by database, collection and operation."""
    return Panel(
        "Vector-database calls",
        "Calls per second by database, collection and operation.",
        REQUESTS_PER_SECOND,
        (
            PanelQuery(
                queries.calls(view.per("database", "collection")),
                by(DB_SYSTEM, DB_COLLECTION, DB_OPERATION),
            ),
        ),
        width=QUARTER,
        soft_maximum=1,
    )


def search_duration(view: View) -> Panel:
    """Quantiles of the duration of searches, with exemplars."""
    return Panel(
        "Search duration",
        "Duration of searches and queries, network included. Each exemplar links to the trace "
        "of one search.",
        SECONDS,
        tuple(
            PanelQuery(
                queries.search_duration_quantile(view, share),
                name,
                exemplars=share == 0.99,
            )
            for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(0.5, RED)),
        width=QUARTER,
    )


def empty_searches(view: View) -> Panel:
    """Searches without a result, by collection."""
    return Panel(
        "Empty searches",
        "Share of searches that returned nothing, by collection. The model then answers without "
        "context. Each query of a batch counts.",
        SHARE,
        (
            PanelQuery(
                queries.empty_ratio(view.per("database", "collection")),
                by(DB_SYSTEM, DB_COLLECTION),
            ),
        ),
        thresholds=(Threshold(0.05, AMBER), Threshold(0.2, RED)),
        width=QUARTER,
        maximum=1,
    )


def errors(view: View) -> Panel:
    """Failures, by database and type."""
    return Panel(
        "Vector-database errors",
        "Failed calls per second, by database and error type.",
        REQUESTS_PER_SECOND,
        (
            PanelQuery(
                queries.errors(view.per("database")),
                by(DB_SYSTEM, ERROR_TYPE),
            ),
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(1, RED)),
        width=QUARTER,
        soft_maximum=1,
    )
