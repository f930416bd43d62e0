"""Chroma, as data: chromadb, its operations, others' spans."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import (
    COMPOSED,
    LOCAL,
    Database,
    ForeignSpans,
    PythonClient,
    WrappedClasses,
    same_named,
)

# Only collections and clients know a collection's name; what they delegate to knows its UUID.
COLLECTIONS: Final = WrappedClasses(
    classes=(
        ("chromadb.api.models.Collection:Collection",),
        ("chromadb.api.models.AsyncCollection:AsyncCollection",),
    ),
    essential="query",
    operations=(
        *same_named("search", "query"),
        *same_named("search", "search", versions=">=1.0.21"),
        *same_named("read", "get", "peek", "count"),
        *same_named("write", "add", "upsert", "update"),
        *same_named("delete", "delete"),
        *same_named("administration", "modify"),
        *same_named("administration", "fork", versions=">=1.0.7"),
        *same_named("administration", "attach_function", "detach_function"),
        # As these two were called at first.
        *same_named("administration", "create_task", "remove_task", versions=">=1.2,<1.3.3"),
        *same_named(
            "administration",
            "fork_count",
            "get_attached_function",
            "get_indexing_status",
            span_on_failure_only=True,
        ),
    ),
    unobserved=MappingProxyType({LOCAL: ("get_model",)}),
)
CLIENTS: Final = WrappedClasses(
    classes=(("chromadb.api.client:Client",), ("chromadb.api.async_client:AsyncClient",)),
    essential="get_collection",
    operations=(
        *same_named(
            "administration",
            "create_collection",
            "get_or_create_collection",
            "delete_collection",
            "reset",
        ),
        *same_named(
            "administration",
            "get_collection",
            "get_collection_by_id",
            "list_collections",
            "count_collections",
            "heartbeat",
            "get_version",
            "get_max_batch_size",
            "get_user_identity",
            span_on_failure_only=True,
        ),
    ),
    unobserved=MappingProxyType(
        {
            COMPOSED: ("create", "from_system_async", "set_tenant", "set_database"),
            LOCAL: (
                "clear_system_cache",
                "close",
                "from_system",
                "get_chroma_cloud_api_key_from_clients",
                "get_settings",
            ),
        }
    ),
)
ADMINS: Final = WrappedClasses(
    classes=(("chromadb.api.client:AdminClient",), ("chromadb.api.async_client:AsyncAdminClient",)),
    essential="get_tenant",
    operations=(
        *same_named("administration", "create_tenant", "create_database", "delete_database"),
        # Each client asks for its own before anything else.
        *same_named(
            "administration",
            "get_tenant",
            "get_database",
            "list_databases",
            span_on_failure_only=True,
        ),
    ),
    unobserved=MappingProxyType(
        {LOCAL: ("clear_system_cache", "from_system", "get_chroma_cloud_api_key_from_clients")}
    ),
)

CHROMA: Final = Database(
    name="chroma",
    title="Chroma",
    aliases=("chromadb",),
    client=PythonClient(
        package="chromadb",
        distributions=("chromadb", "chromadb-client"),
        oldest="1.0",
        newest="1.5.9",
        tested="embedded; the Chroma server",
        wrapped=(COLLECTIONS, CLIENTS, ADMINS),
    ),
    # Whatever a collection compares by, its client returns distances, and what a rank expression
    # gives is sorted like them.
    score_directions=MappingProxyType({"*": "lower_is_better"}),
    scrape=None,
    not_scraped="Chroma has no /metrics: let it send OTLP to receivers.otlp_grpc, as "
    "docs/databases/chroma.md shows",
    foreign_spans=(
        ForeignSpans(
            instrumentation="OpenLLMetry",
            scopes=("opentelemetry.instrumentation.chromadb",),
            renamed=MappingProxyType(
                {
                    "db.chroma.query.n_results": names.RETRIEVAL_TOP_K,
                    "db.chroma.query.embeddings_count": names.VECTOR_QUERY_COUNT,
                    "db.chroma.add.ids_count": names.DB_BATCH_SIZE,
                }
            ),
            renamed_patterns=(("db.chroma.", ".where", names.DB_FILTER),),
            content_namespaces=("db.chroma.",),
        ),
        # It calls a query GET.
        ForeignSpans(instrumentation="OpenLIT", scopes=("openlit",), reads_are_searches=True),
    ),
)
