"""Qdrant, as data: qdrant-client, its operations, the server's metrics, others' spans."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import (
    PROCESS_FAMILIES,
    Database,
    ForeignSpans,
    PythonClient,
    ScrapePreset,
    WrappedClasses,
    same_named,
)

# One choke point for local mode, REST and gRPC alike: what these classes delegate to never
# calls them back.
CLIENTS: Final = WrappedClasses(
    classes=(
        ("qdrant_client.qdrant_client:QdrantClient",),
        ("qdrant_client.async_qdrant_client:AsyncQdrantClient",),
    ),
    essential="query_points",
    operations=(
        *same_named("search", "query_points", "query_batch_points", "query_points_groups"),
        # What older clients have beside `query_points`.
        *same_named(
            "search",
            "search",
            "search_batch",
            "search_groups",
            "recommend",
            "recommend_batch",
            "recommend_groups",
            "discover",
            "discover_batch",
            versions="<1.16",
        ),
        *same_named("write", "upload_records", versions="<1.16"),
        *same_named(
            "read",
            "search_matrix_pairs",
            "search_matrix_offsets",
            "scroll",
            "retrieve",
            "count",
            "facet",
        ),
        *same_named(
            "write",
            "upsert",
            "upload_points",
            "upload_collection",
            "batch_update_points",
            "update_vectors",
            "delete_vectors",
            "set_payload",
            "overwrite_payload",
            "delete_payload",
            "clear_payload",
        ),
        *same_named("delete", "delete"),
        *same_named(
            "administration",
            "create_collection",
            "recreate_collection",
            "update_collection",
            "delete_collection",
            "update_collection_aliases",
            "create_payload_index",
            "delete_payload_index",
            "create_snapshot",
            "recover_snapshot",
            "create_shard_key",
            "delete_shard_key",
        ),
        *same_named(
            "administration", "create_vector_name", "delete_vector_name", versions=">=1.18"
        ),
        *same_named("administration", "get_collection", span_on_failure_only=True),
    ),
)

# Modules through which its responses pass.
RESPONSES: Final = (
    "qdrant_client.http.api_client",
    "qdrant_client.qdrant_remote",
    "qdrant_client.async_qdrant_remote",
)

QDRANT: Final = Database(
    name="qdrant",
    title="Qdrant",
    client=PythonClient(
        package="qdrant_client",
        distributions=("qdrant-client",),
        oldest="1.13",
        newest="1.20.0",
        tested="local mode; over REST and gRPC a test server that responds from local mode",
        wrapped=(CLIENTS,),
    ),
    score_directions=MappingProxyType(
        {
            "COSINE": "higher_is_better",
            "DOT": "higher_is_better",
            "EUCLID": "lower_is_better",
            "MANHATTAN": "lower_is_better",
        }
    ),
    # Names in the source of Qdrant 1.19.
    scrape=ScrapePreset(
        port=6333,
        families=(
            "app_*",
            "collections_*",
            "collection_*",
            "rest_responses_*",
            "grpc_responses_*",
            "memory_active_bytes",
            "memory_allocated_bytes",
            "memory_resident_bytes",
            "cluster_enabled",
            "cluster_peers_total",
            "cluster_pending_operations_total",
            "cluster_voter",
            *PROCESS_FAMILIES,
        ),
        about="collections, REST and gRPC responses, memory, cluster, process",
    ),
    foreign_spans=(
        ForeignSpans(
            instrumentation="OpenLLMetry",
            scopes=("opentelemetry.instrumentation.qdrant",),
            renamed=MappingProxyType(
                {
                    "qdrant.upsert.points_count": names.DB_BATCH_SIZE,
                    "qdrant.upload_collection.points_count": names.DB_BATCH_SIZE,
                }
            ),
            renamed_patterns=(("qdrant.", ".collection_name", names.DB_COLLECTION),),
        ),
    ),
)
