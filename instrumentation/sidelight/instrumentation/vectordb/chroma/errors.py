"""What chromadb raises: its errors with an HTTP status, and those of the HTTP library."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidelight.instrumentation.vectordb.core.errors import ClientErrors
from sidelight.instrumentation.vectordb.core.failures import (
    Failure,
    is_of_library,
    library_type,
    text_of,
)

# Names of operations, which chromadb appends to its messages, of arguments and of operators.
_WORDS: Final = frozenset(
    {
        "add", "count", "create", "delete", "fork", "get", "modify", "peek", "query", "search",
        "update", "upsert", "ids", "documents", "embeddings", "images", "metadatas", "uris",
        "query_texts", "query_embeddings", "query_images", "query_uris", "where", "where_document",
        "data", "distances",
        "l2", "cosine", "ip", "HNSW", "SPANN", "knn", "rrf", "val",
        "$and", "$contains", "$eq", "$gt", "$gte", "$in", "$lt", "$lte",
        "$ne", "$nin", "$not_contains", "$not_regex", "$or", "$regex", "#document", "#embedding",
        "default_tenant", "default_database", "Collection.add", "Collection.count",
        "Collection.delete", "Collection.get", "Collection.modify", "Collection.peek",
        "Collection.query", "Collection.update", "Collection.upsert",
    }
)  # fmt: skip


def describe_error(error: BaseException) -> Failure:
    """The HTTP status of Chroma's error, and its message.

    Where the request never reached a server the error is of the HTTP library and has no code.
    """
    # Chroma's is a method; other libraries have an attribute of that name.
    code = getattr(error, "code", None) if is_of_library(error) else None
    status = code() if callable(code) else None
    return Failure(
        library_type(error).__qualname__,
        str(status) if type(status) is int else None,
        text_of(error),
    )


ERRORS: Final = ClientErrors(describe_error, Path(__file__).parent, _WORDS)
