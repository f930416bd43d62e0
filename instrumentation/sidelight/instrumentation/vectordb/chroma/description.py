"""Chroma, as data: chromadb, its operations, others' spans."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import (
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
    ),
)
CLIENTS: Final = WrappedClasses(
    classes=(("chromadb.api.client:Client",), ("chromadb.api.async_client:AsyncClient",)),
    essential="get_collection",
    operations=(
        *same_named(
            "administration", "create_collection", "get_or_create_collection", "delete_collection"
        ),
        *same_named("administration", "get_collection", span_on_failure_only=True),
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
        wrapped=(COLLECTIONS, CLIENTS),
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
