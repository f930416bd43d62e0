"""Metrics of vector-database clients, measured inside the app."""

from __future__ import annotations

from typing import Final

from sidelight.conventions import buckets
from sidelight.conventions.definitions import CLIENTS, Group

_CLIENTS: Final = Group("Vector-database clients", CLIENTS)
DB_CLIENT_DURATION: Final = _CLIENTS.metric(
    "db.client.operation.duration",
    "histogram",
    "s",
    "Duration of database client operations.",
    buckets=buckets.DB_SECONDS_BUCKETS,
)
DB_CLIENT_RETURNED_ROWS: Final = _CLIENTS.metric(
    "db.client.response.returned_rows",
    "histogram",
    "{row}",
    "Rows returned by database client operations.",
    buckets=(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0),
)

VECTOR_TOP_SCORE: Final = _CLIENTS.metric(
    "db.vector.search.top_score",
    "histogram",
    "1",
    "Score of the best hit of each query; a negative one counts as zero.",
    buckets=buckets.SCORE_BUCKETS,
)
VECTOR_SCORE_GAP_SIZE: Final = _CLIENTS.metric(
    "db.vector.search.score_gap",
    "histogram",
    "1",
    "Distance between the scores of the best and the second hit of each query.",
    buckets=buckets.SCORE_BUCKETS,
)
VECTOR_EMPTY_SEARCHES: Final = _CLIENTS.metric(
    "db.vector.search.empty_results", "counter", "{query}", "Queries that found nothing."
)
VECTOR_RECORDS_WRITTEN: Final = _CLIENTS.metric(
    "db.vector.records.written", "counter", "{record}", "Records stored by inserts and upserts."
)
VECTOR_RECORDS_DELETED: Final = _CLIENTS.metric(
    "db.vector.records.deleted",
    "counter",
    "{record}",
    "Records deleted, where the client says how many.",
)
