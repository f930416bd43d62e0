"""Qdrant, as data: qdrant-client, its operations, the server's metrics, others' spans."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import (
    COMPOSED,
    LOCAL,
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
            "delete_snapshot",
            "recover_snapshot",
            "create_full_snapshot",
            "delete_full_snapshot",
            "create_shard_snapshot",
            "delete_shard_snapshot",
            "recover_shard_snapshot",
            "create_shard_key",
            "delete_shard_key",
            # Of older clients.
            "lock_storage",
            "unlock_storage",
            # Of newer clients.
            "cluster_collection_update",
            "recover_current_peer",
            "remove_peer",
        ),
        *same_named(
            "administration", "create_vector_name", "delete_vector_name", versions=">=1.18"
        ),
        *same_named(
            "administration",
            "get_collection",
            "get_collections",
            "collection_exists",
            "get_aliases",
            "get_collection_aliases",
            "list_snapshots",
            "list_full_snapshots",
            "list_shard_snapshots",
            "info",
            "get_locks",
            "list_shard_keys",
            "get_optimizations",
            "collection_cluster_info",
            "cluster_status",
            "cluster_telemetry",
            span_on_failure_only=True,
        ),
    ),
    unobserved=MappingProxyType(
        {
            COMPOSED: ("add", "query", "query_batch", "migrate"),
            LOCAL: (
                "close",
                "get_embedding_size",
                "get_fastembed_sparse_vector_params",
                "get_fastembed_vector_params",
                "get_sparse_vector_field_name",
                "get_vector_field_name",
                "list_image_models",
                "list_late_interaction_multimodal_models",
                "list_late_interaction_text_models",
                "list_sparse_models",
                "list_text_models",
                "set_model",
                "set_sparse_model",
            ),
        }
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
