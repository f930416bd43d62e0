"""Attributes of calls to vector databases."""

from __future__ import annotations

from typing import Final

from sidelight.conventions.definitions import attribute

DB_SYSTEM: Final = attribute("db.system.name", "milvus, qdrant or chroma.")
DB_OPERATION: Final = attribute("db.operation.name", "search, hybrid_search, query, insert, …")
DB_COLLECTION: Final = attribute("db.collection.name", "Collection the call was for.")
DB_NAMESPACE: Final = attribute("db.namespace", "Database; for Chroma tenant/database.")
DB_BATCH_SIZE: Final = attribute(
    "db.operation.batch.size", "Entities or requests in the call, if more than one."
)
DB_STATUS_CODE: Final = attribute("db.response.status_code", "The database's own error code.")
DB_RETURNED_ROWS: Final = attribute("db.response.returned_rows", "Hits or rows returned.")
DB_FILTER: Final = attribute("db.vector.filter", "Filter expression.", sensitive=True)
DB_QUERY_TEXT: Final = attribute("db.query.text", "The query as text.", sensitive=True)
VECTOR_DIMENSION: Final = attribute("db.vector.dimension", "Dimensions of the query vector.")
VECTOR_QUERY_COUNT: Final = attribute("db.vector.query.count", "Query vectors in the call.")
VECTOR_FIELD: Final = attribute("db.vector.field", "Vector field that was searched.")
VECTOR_METRIC_TYPE: Final = attribute("db.vector.metric_type", "COSINE, IP, L2, …")
VECTOR_INDEX_TYPE: Final = attribute("db.vector.index_type", "HNSW, IVF_FLAT, AUTOINDEX, …")
VECTOR_EF: Final = attribute("db.vector.search.ef", "HNSW search breadth.")
VECTOR_NPROBE: Final = attribute("db.vector.search.nprobe", "IVF lists probed.")
VECTOR_RANKER: Final = attribute("db.vector.ranker", "How a hybrid search merges its branches.")
VECTOR_GROUP_BY: Final = attribute("db.vector.group_by", "Field that groups the hits.")
VECTOR_SCORE_TOP: Final = attribute("db.vector.score.top", "Score of the best hit.")
VECTOR_SCORE_LAST: Final = attribute("db.vector.score.last", "Score of the last hit.")
VECTOR_SCORE_MEAN: Final = attribute("db.vector.score.mean", "Mean score of the hits.")
VECTOR_SCORE_GAP: Final = attribute(
    "db.vector.score.gap", "Distance between the best and the second hit's score, never negative."
)
VECTOR_SCORE_DIRECTION: Final = attribute(
    "db.vector.score.direction",
    "higher_is_better or lower_is_better; absent where it cannot be known without another call.",
)
VECTOR_EMPTY: Final = attribute("db.vector.search.empty", "A search that found nothing.")
VECTOR_EMPTY_QUERIES: Final = attribute(
    "db.vector.search.empty_queries", "Queries of a batch that found nothing."
)
VECTOR_RECORDS: Final = attribute(
    "db.vector.records", "Records a write stored or deleted, as the database counted them."
)
VECTOR_PAGES: Final = attribute("db.vector.iterator.pages", "Pages an iterator has fetched.")
VECTOR_BRANCHES: Final = attribute(
    "db.vector.branches", "Searches that a hybrid search merges into one result."
)
MILVUS_CONSISTENCY: Final = attribute("db.milvus.consistency_level", "Consistency asked for.")
MILVUS_COST: Final = attribute("db.milvus.cost", "Cost the server reported.")
QDRANT_SERVER_DURATION: Final = attribute(
    "db.qdrant.server.duration", "Time the server says it spent on the call.", unit="s"
)
QDRANT_UPDATE_STATUS: Final = attribute(
    "db.qdrant.update_status", "completed, or acknowledged if the write is not applied yet."
)
QDRANT_CPU: Final = attribute("db.qdrant.usage.cpu", "CPU the server counted for the call.")
QDRANT_IO_READ: Final = attribute(
    "db.qdrant.usage.io_read", "Payload, index and vector reads the server counted."
)
QDRANT_IO_WRITE: Final = attribute(
    "db.qdrant.usage.io_write", "Payload, index and vector writes the server counted."
)
MILVUS_SCANNED_BYTES: Final = attribute(
    "db.milvus.scanned_bytes", "Bytes the server scanned for the call.", unit="By"
)
MILVUS_CACHE_HIT_RATIO: Final = attribute(
    "db.milvus.cache_hit_ratio", "Share of the scan that the server's cache served.", unit="1"
)
