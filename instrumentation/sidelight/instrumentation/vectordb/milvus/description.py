"""Milvus, as data: pymilvus, its operations, the server's metrics, others' spans."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import (
    LOCAL,
    PROCESS_FAMILIES,
    Database,
    ForeignSpans,
    Operation,
    PythonClient,
    ScrapePreset,
    WrappedClasses,
    same_named,
)
from sidelight.instrumentation.vectordb.milvus.administration import ADMINISTRATION, UNOBSERVED

# MilvusClient, its sessions, the ORM and iterators all end in these two classes; a method of
# theirs includes the client's own retries, up to 75 of them.
HANDLERS: Final = WrappedClasses(
    classes=(
        ("pymilvus.client.grpc_handler:GrpcHandler",),
        ("pymilvus.client.async_grpc_handler:AsyncGrpcHandler",),
    ),
    essential="search",
    operations=(
        *same_named("search", "search", "hybrid_search"),
        # Up to pymilvus 2.5 records could be read by ids too.
        *same_named("read", "query", "run_analyzer", "get"),
        Operation(name="insert", kind="write", methods=("insert_rows", "batch_insert")),
        Operation(name="upsert", kind="write", methods=("upsert_rows", "upsert")),
        *same_named("delete", "delete"),
        *ADMINISTRATION,
        # A server that cannot be reached fails here, before any operation begins.
        Operation(
            name="connect",
            kind="administration",
            methods=("_wait_for_channel_ready", "ensure_channel_ready"),
            span_on_failure_only=True,
        ),
    ),
    unobserved=UNOBSERVED,
)

_ITERATOR_METHODS: Final = ("__init__", "next", "close")
SEARCH_ITERATORS: Final = WrappedClasses(
    # Up to pymilvus 2.5 they were elsewhere.
    classes=(
        (
            "pymilvus.client.iterator.search_iterator:SearchIteratorV2",
            "pymilvus.client.search_iterator:SearchIteratorV2",
        ),
        (
            "pymilvus.client.iterator.search_iterator:SearchIterator",
            "pymilvus.orm.iterator:SearchIterator",
        ),
    ),
    essential="next",
    operations=(Operation(name="search_iterator", kind="search", methods=_ITERATOR_METHODS),),
)
QUERY_ITERATORS: Final = WrappedClasses(
    classes=(
        (
            "pymilvus.client.iterator.query_iterator:QueryIterator",
            "pymilvus.orm.iterator:QueryIterator",
        ),
    ),
    essential="next",
    operations=(Operation(name="query_iterator", kind="read", methods=_ITERATOR_METHODS),),
    unobserved=MappingProxyType({LOCAL: ("get_cursor",)}),
)

MILVUS: Final = Database(
    name="milvus",
    title="Milvus",
    client=PythonClient(
        package="pymilvus",
        distributions=("pymilvus",),
        oldest="2.5",
        newest="3.0.2",
        tested="Milvus Lite 2.5 and 3.2, embedded and as a server; Milvus 2.3.5",
        wrapped=(HANDLERS, SEARCH_ITERATORS, QUERY_ITERATORS),
    ),
    score_directions=MappingProxyType(
        {
            "COSINE": "higher_is_better",
            "IP": "higher_is_better",
            "BM25": "higher_is_better",
            "MAX_SIM*": "higher_is_better",
            "L2": "lower_is_better",
            "HAMMING": "lower_is_better",
            "JACCARD": "lower_is_better",
            "TANIMOTO": "lower_is_better",
            "MHJACCARD": "lower_is_better",
            "SUPERSTRUCTURE": "lower_is_better",
            "SUBSTRUCTURE": "lower_is_better",
        }
    ),
    # Some of its client APIs name it where others do not, for the same collection.
    default_namespace="default",
    # Names of Milvus 2.3.5. Left out is what helps those who develop the server: queues between
    # its parts, its garbage collector.
    scrape=ScrapePreset(
        port=9091,
        families=(
            "milvus_proxy_req_count",
            "milvus_proxy_req_latency",
            "milvus_proxy_sq_*",
            "milvus_proxy_search_vectors_count",
            "milvus_proxy_received_nq",
            "milvus_proxy_executing_total_nq",
            "milvus_proxy_insert_vectors_count",
            "milvus_proxy_mutation_latency",
            "milvus_proxy_cache_hit_count",
            "milvus_proxy_*_bytes_count",
            "milvus_proxy_tt_lag_ms",
            "milvus_querynode_sq_*",
            "milvus_querynode_search_nq",
            "milvus_querynode_search_topk",
            "milvus_querynode_read_task_*",
            "milvus_querynode_segment_num",
            "milvus_querynode_entity_*",
            "milvus_querynode_collection_num",
            "milvus_querynode_disk_used_size",
            "milvus_querynode_consume_tt_lag_ms",
            "milvus_querycoord_load_*",
            "milvus_querycoord_querynode_num",
            "milvus_datacoord_collection_num",
            "milvus_datacoord_segment_num",
            "milvus_datacoord_stored_*",
            "milvus_datacoord_index_req_count",
            "milvus_datanode_consume_tt_lag_ms",
            "milvus_rootcoord_collection_num",
            "milvus_rootcoord_ddl_req_*",
            "milvus_rootcoord_quota_states",
            "milvus_num_node",
            *PROCESS_FAMILIES,
        ),
        about="requests, searches and their waits, segments, rows, lag, process (54 of the 147 "
        "families of Milvus 2.3.5)",
    ),
    foreign_spans=(
        ForeignSpans(
            instrumentation="OpenLLMetry",
            scopes=("opentelemetry.instrumentation.milvus",),
            renamed=MappingProxyType(
                {
                    "db.milvus.search.limit": names.RETRIEVAL_TOP_K,
                    "db.milvus.search.anns_field": names.VECTOR_FIELD,
                    "db.milvus.search.query_vector_dimension": names.VECTOR_DIMENSION,
                    "db.milvus.search.data_count": names.VECTOR_QUERY_COUNT,
                    "db.milvus.search.result_count": names.DB_RETURNED_ROWS,
                    "db.milvus.search.ranker_type": names.VECTOR_RANKER,
                    "db.milvus.create_collection.metric_type": names.VECTOR_METRIC_TYPE,
                    "db.milvus.create_collection.dimension": names.VECTOR_DIMENSION,
                    "db.milvus.insert.data_count": names.DB_BATCH_SIZE,
                    "db.milvus.upsert.data_count": names.DB_BATCH_SIZE,
                }
            ),
            renamed_patterns=(
                ("db.milvus.", ".collection_name", names.DB_COLLECTION),
                ("db.milvus.", ".filter", names.DB_FILTER),
            ),
            content=("db.milvus.search.annsearch_request",),
            content_namespaces=("db.milvus.",),
        ),
        ForeignSpans(instrumentation="OpenLIT", scopes=("openlit",), rows_are_queries=True),
    ),
)
