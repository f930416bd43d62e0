"""Alerts on retrieval: failed, empty and slow searches, and scores that have moved.

Searches are measured by the collector from spans, or else by the clients themselves.
"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import (
    AS_NUMBER,
    AS_SECONDS,
    AS_SHARE,
    MINIMUM_EVENTS,
    Alert,
    AlertGroup,
    labels,
)
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog.metric import Dimension
from sidelight.dashboards.promql import Matcher
from sidelight.dashboards.queries import retrieval, series
from sidelight.dashboards.view import View

_COLLECTION: Final[tuple[Dimension, ...]] = ("database", "collection")
_WHERE: Final = "{{ $labels.db_collection_name }} ({{ $labels.db_system_name }})"
# From here on the population stability index counts as a change: docs/retrieval-health.md.
_CHANGED: Final = 0.25


def group(view: View) -> AlertGroup:
    """Alerts on retrieval."""
    return AlertGroup(
        "sidelight-retrieval",
        (failing(view), empty(view), slow(view), scores_drifting(view)),
    )


def failing(view: View) -> Alert:
    """Searches fail."""
    place = view.per(*_COLLECTION).over("10m")
    by_spans = promql.ratio(
        series.total_increase(place, own.RETRIEVAL_SEARCHES, _outcome("error")),
        series.total_increase(place, own.RETRIEVAL_SEARCHES),
        MINIMUM_EVENTS,
    )
    by_clients = promql.ratio(
        series.total_increase(place, own.DB_DURATION, retrieval.FAILED, part="count"),
        series.total_increase(place, own.DB_DURATION, part="count"),
        MINIMUM_EVENTS,
    )
    return Alert(
        "SidelightRetrievalFailing",
        "ticket",
        f"{AS_SHARE} of the searches in {_WHERE} fail.",
        "Look at the errors by type, and whether the database answers.",
        promql.above(promql.fallback(by_spans, by_clients, *labels(_COLLECTION)), 0.02),
        wait="5m",
        by=_COLLECTION,
        panel="Vector-database errors",
    )


def empty(view: View) -> Alert:
    """Searches find nothing: the model answers without context."""
    place = view.per(*_COLLECTION).over("15m")
    by_spans = promql.ratio(
        series.total_increase(place, own.RETRIEVAL_SEARCHES, _outcome("empty")),
        series.total_increase(place, own.RETRIEVAL_SEARCHES, _outcome("empty|found")),
        MINIMUM_EVENTS,
    )
    searches = series.total_increase(place, own.DB_DURATION, retrieval.SEARCH, part="count")
    by_clients = promql.where(
        retrieval.empty_ratio(place),
        promql.at_least(searches, MINIMUM_EVENTS),
        *labels(_COLLECTION),
    )
    return Alert(
        "SidelightRetrievalEmpty",
        "ticket",
        f"{AS_SHARE} of the searches in {_WHERE} find nothing.",
        "Look whether the collection is loaded and filled, and whether filters match anything.",
        promql.above(promql.fallback(by_spans, by_clients, *labels(_COLLECTION)), 0.2),
        wait="10m",
        by=_COLLECTION,
        panel="Empty searches",
    )


def slow(view: View) -> Alert:
    """Searches take long."""
    place = view.per(*_COLLECTION).over("10m")
    by_spans = promql.where(
        series.quantile(place, own.RETRIEVAL_DURATION, 0.95),
        promql.at_least(
            series.total_increase(place, own.RETRIEVAL_DURATION, part="count"), MINIMUM_EVENTS
        ),
        *labels(_COLLECTION),
    )
    by_clients = promql.where(
        retrieval.search_duration_quantile(place, 0.95),
        promql.at_least(
            series.total_increase(place, own.DB_DURATION, retrieval.SEARCH, part="count"),
            MINIMUM_EVENTS,
        ),
        *labels(_COLLECTION),
    )
    return Alert(
        "SidelightRetrievalSlow",
        "ticket",
        f"One in twenty searches in {_WHERE} takes longer than {AS_SECONDS}.",
        "Look at the load of the database, and whether the index is built.",
        promql.above(promql.fallback(by_spans, by_clients, *labels(_COLLECTION)), 1),
        wait="10m",
        by=_COLLECTION,
        panel="Search duration",
    )


def scores_drifting(view: View) -> Alert:
    """The best scores are not those of the day before."""
    drift = retrieval.score_drift(view.per(*_COLLECTION))
    return Alert(
        "SidelightRetrievalScoresDrifting",
        "ticket",
        f"The top scores in {_WHERE} have moved (PSI {AS_NUMBER} on the scale "
        "{{ $labels.scale }}).",
        "Look what changed: the documents, the embedding model or the questions.",
        promql.above(drift, _CHANGED),
        wait="15m",
        by=_COLLECTION,
        panel="Top-score drift",
    )


def _outcome(outcomes: str) -> Matcher:
    return Matcher(own.OUTCOME, "=~" if "|" in outcomes else "=", outcomes)
