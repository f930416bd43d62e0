"""Attributes of calls to vector databases."""

from __future__ import annotations

from typing import Final

from sidelight.conventions.definitions import APPS, CLIENTS, COLLECTOR, Group

_DATABASE: Final = Group("Vector databases", CLIENTS)

DB_SYSTEM: Final = _DATABASE.attribute(
    "db.system.name", "Database system: milvus, qdrant, chroma and so on.", CLIENTS, COLLECTOR
)
DB_OPERATION: Final = _DATABASE.attribute(
    "db.operation.name",
    "Operation: search, hybrid_search, query, insert and so on.",
    CLIENTS,
    COLLECTOR,
)
DB_COLLECTION: Final = _DATABASE.attribute(
    "db.collection.name", "Collection of the call.", CLIENTS, COLLECTOR
)
DB_NAMESPACE: Final = _DATABASE.attribute(
    "db.namespace", "Database; for Chroma tenant/database.", CLIENTS, COLLECTOR
)
DB_BATCH_SIZE: Final = _DATABASE.attribute(
    "db.operation.batch.size",
    "Entities or requests in the call, if more than one.",
    CLIENTS,
    COLLECTOR,
)
DB_STATUS_CODE: Final = _DATABASE.attribute(
    "db.response.status_code", "The database's own error code."
)
DB_RETURNED_ROWS: Final = _DATABASE.attribute(
    "db.response.returned_rows",
    "Hits or rows that the call returned.",
    CLIENTS,
    COLLECTOR,
    unit="{row}",
)
DB_FILTER: Final = _DATABASE.attribute(
    "db.vector.filter", "Filter expression.", CLIENTS, COLLECTOR, sensitive=True
)
DB_QUERY_TEXT: Final = _DATABASE.attribute(
    "db.query.text", "Query as text.", COLLECTOR, APPS, sensitive=True
)
VECTOR_DIMENSION: Final = _DATABASE.attribute(
    "db.vector.dimension", "Dimension of the query vector.", CLIENTS, COLLECTOR
)
VECTOR_QUERY_COUNT: Final = _DATABASE.attribute(
    "db.vector.query.count", "Query vectors in the call.", CLIENTS, COLLECTOR, unit="{query}"
)
VECTOR_FIELD: Final = _DATABASE.attribute(
    "db.vector.field", "Vector field of the search.", CLIENTS, COLLECTOR
)
VECTOR_METRIC_TYPE: Final = _DATABASE.attribute(
    "db.vector.metric_type", "Metric type: COSINE, IP, L2 and so on.", CLIENTS, COLLECTOR
)
VECTOR_INDEX_TYPE: Final = _DATABASE.attribute(
    "db.vector.index_type", "Index type: HNSW, IVF_FLAT, AUTOINDEX and so on."
)
VECTOR_EF: Final = _DATABASE.attribute("db.vector.search.ef", "HNSW search breadth.")
VECTOR_NPROBE: Final = _DATABASE.attribute("db.vector.search.nprobe", "IVF lists probed.")
VECTOR_RANKER: Final = _DATABASE.attribute(
    "db.vector.ranker", "How a hybrid search merges its branches.", CLIENTS, COLLECTOR
)
VECTOR_GROUP_BY: Final = _DATABASE.attribute("db.vector.group_by", "Field that groups the hits.")
VECTOR_SCORE_TOP: Final = _DATABASE.attribute("db.vector.score.top", "Score of the best hit.")
VECTOR_SCORE_LAST: Final = _DATABASE.attribute("db.vector.score.last", "Score of the last hit.")
VECTOR_SCORE_MEAN: Final = _DATABASE.attribute("db.vector.score.mean", "Mean score of the hits.")
VECTOR_SCORE_GAP: Final = _DATABASE.attribute(
    "db.vector.score.gap",
    "Distance between the scores of the best and the second hit; never negative.",
)
VECTOR_SCORE_DIRECTION: Final = _DATABASE.attribute(
    "db.vector.score.direction", "higher_is_better or lower_is_better; absent if unknown."
)
VECTOR_EMPTY: Final = _DATABASE.attribute(
    "db.vector.search.empty", "true if the search found nothing."
)
VECTOR_EMPTY_QUERIES: Final = _DATABASE.attribute(
    "db.vector.search.empty_queries", "Queries of a batch that found nothing.", unit="{query}"
)
VECTOR_RECORDS: Final = _DATABASE.attribute(
    "db.vector.records",
    "Records that a write stored or deleted, as the database counted them.",
    unit="{record}",
)
VECTOR_PAGES: Final = _DATABASE.attribute(
    "db.vector.iterator.pages", "Pages that an iterator has fetched.", unit="{page}"
)
VECTOR_BRANCHES: Final = _DATABASE.attribute(
    "db.vector.branches", "Searches that a hybrid search merges into one result.", unit="{search}"
)
MILVUS_CONSISTENCY: Final = _DATABASE.attribute(
    "db.milvus.consistency_level", "Consistency level of the call."
)
MILVUS_COST: Final = _DATABASE.attribute("db.milvus.cost", "Cost that the server reported.")
QDRANT_SERVER_DURATION: Final = _DATABASE.attribute(
    "db.qdrant.server.duration",
    "Time that the server spent on the call, by its own account.",
    unit="s",
)
QDRANT_UPDATE_STATUS: Final = _DATABASE.attribute(
    "db.qdrant.update_status", "completed, or acknowledged if the write is not applied yet."
)
QDRANT_CPU: Final = _DATABASE.attribute(
    "db.qdrant.usage.cpu", "CPU units that the server counted for the call."
)
QDRANT_IO_READ: Final = _DATABASE.attribute(
    "db.qdrant.usage.io_read", "Payload, index and vector reads that the server counted."
)
QDRANT_IO_WRITE: Final = _DATABASE.attribute(
    "db.qdrant.usage.io_write", "Payload, index and vector writes that the server counted."
)
MILVUS_SCANNED_BYTES: Final = _DATABASE.attribute(
    "db.milvus.scanned_bytes", "Bytes that the server scanned for the call.", unit="By"
)
MILVUS_CACHE_HIT_RATIO: Final = _DATABASE.attribute(
    "db.milvus.cache_hit_ratio", "Share of the scan that the server's cache served.", unit="1"
)
