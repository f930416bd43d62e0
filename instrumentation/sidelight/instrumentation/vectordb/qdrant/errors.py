"""What qdrant-client raises: HTTP and gRPC statuses, and messages of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from sidelight.instrumentation.vectordb.core.errors import ClientErrors
from sidelight.instrumentation.vectordb.core.failures import (
    Failure,
    is_of_library,
    library_type,
    text_of,
)

MAX_RESPONSE_BYTES: Final = 65_536

# Parts of requests that messages name, and kinds of vectors and indexes.
_WORDS: Final = frozenset(
    {
        "keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid", "sparse",
        "dense", "multivector", "points", "vectors", "vector", "payload", "payloads", "ids", "id",
        "filter", "limit", "offset", "using", "query", "prefetch", "collection_name",
        "Cosine", "Euclid", "Dot", "Manhattan", "rrf", "dbsf", "recommend", "discover", "context",
        "formula", "relevance_feedback", "bm25", "average_vector", "best_score", "sum_scores",
        "PointStruct", "PointsList", "PointsBatch", "PointInsertOperations", "PointVectors",
        "Filter", "FieldCondition", "VectorStruct", "ExtendedPointId", "QueryInterface",
        "QueryRequest", "VectorParams", "SparseVector", "Record", "Batch",
    }
)  # fmt: skip


def describe_error(error: BaseException) -> Failure:
    """The HTTP or gRPC status and the server's own message.

    Local mode raises plain `ValueError`s, REST an `UnexpectedResponse` that holds the whole
    answer, gRPC an error with a status.
    """
    error_type = library_type(error).__qualname__
    if not is_of_library(error):
        return Failure(error_type, None, text_of(error))
    # Of REST; an error of gRPC has `code()` instead.
    status = getattr(error, "status_code", None)
    if type(status) is int:
        return Failure(error_type, str(status), _server_message(error) or text_of(error))
    code = getattr(error, "code", None)
    if callable(code):
        details = getattr(error, "details", None)
        message = details() if callable(details) else None
        return Failure(
            error_type,
            getattr(code(), "name", None),
            message if isinstance(message, str) else text_of(error),
        )
    return Failure(error_type, None, text_of(error))


def _server_message(error: Any) -> str | None:
    """The message inside Qdrant's `{"status": {"error": …}}`."""
    try:
        # Parsing a long one would hold up the app; a message of Qdrant's is short.
        if len(error.content) > MAX_RESPONSE_BYTES:
            return None
        return str(json.loads(error.content)["status"]["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


ERRORS: Final = ClientErrors(describe_error, Path(__file__).parent, _WORDS)
