"""Retrieval: vector searches as the application's wrapped clients see them."""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.panels.panel import (
    AMBER,
    QUARTER,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    Limit,
    Panel,
    Row,
    Target,
    by,
)
from sidelight.dashboards.panels.panel import RED as RED_COLOUR
from sidelight.dashboards.promql import (
    Binary,
    Matcher,
    quantile,
    ratio,
    total,
    zero_for_each,
    zero_unless,
)
from sidelight.dashboards.queries.series import (
    DB_COLLECTION,
    DB_OPERATION,
    DB_SYSTEM,
    ERROR_TYPE,
    own_rate,
)

_SEARCH: Final = Matcher(DB_OPERATION, "=~", ".*search.*|query.*")
_CALLS: Final = own_rate(names.DB_CLIENT_DURATION, "_count")
_COLLECTION: Final = by(DB_SYSTEM, DB_COLLECTION)
# A query either has a top score or found nothing.
_EMPTY_QUERIES: Final = own_rate(names.VECTOR_EMPTY_SEARCHES, "_total")
_SCORED_QUERIES: Final = own_rate(names.VECTOR_TOP_SCORE, "_count")
_EMPTY: Final = zero_for_each(_EMPTY_QUERIES, _SCORED_QUERIES, DB_SYSTEM, DB_COLLECTION)
_FOUND: Final = zero_for_each(_SCORED_QUERIES, _EMPTY_QUERIES, DB_SYSTEM, DB_COLLECTION)

RETRIEVAL: Final = Row(
    "Retrieval",
    (
        Panel(
            "Calls to vector databases",
            "Calls per second by database, collection and operation.",
            REQUESTS_PER_SECOND,
            (
                Target(
                    total(_CALLS, DB_SYSTEM, DB_COLLECTION, DB_OPERATION),
                    by(DB_SYSTEM, DB_COLLECTION, DB_OPERATION),
                ),
            ),
            width=QUARTER,
        ),
        Panel(
            "Search duration",
            "Duration of searches and queries, network included. The points are single searches: "
            "each leads to its trace.",
            SECONDS,
            tuple(
                Target(
                    quantile(share, own_rate(names.DB_CLIENT_DURATION, "_bucket", _SEARCH)),
                    name,
                    exemplars=share == 0.99,
                )
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            limits=(Limit(0.1, AMBER), Limit(0.5, RED_COLOUR)),
            width=QUARTER,
        ),
        Panel(
            "Empty searches",
            "Share of searches that found nothing, by collection: the model then answers without "
            "any context. Each query of a batch counts.",
            SHARE,
            (
                Target(
                    ratio(_EMPTY, Binary(_EMPTY, "+", _FOUND)),
                    _COLLECTION,
                ),
            ),
            limits=(Limit(0.05, AMBER), Limit(0.2, RED_COLOUR)),
            width=QUARTER,
            maximum=1,
        ),
        Panel(
            "Errors of vector databases",
            "Failed calls per second by kind of error.",
            REQUESTS_PER_SECOND,
            (
                Target(
                    zero_unless(
                        total(
                            own_rate(
                                names.DB_CLIENT_DURATION, "_count", Matcher(ERROR_TYPE, "!=", "")
                            ),
                            DB_SYSTEM,
                            ERROR_TYPE,
                        ),
                        _CALLS,
                    ),
                    by(DB_SYSTEM, ERROR_TYPE),
                ),
            ),
            limits=(Limit(0.1, AMBER), Limit(1, RED_COLOUR)),
            width=QUARTER,
        ),
    ),
)
