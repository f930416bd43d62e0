"""What qdrant-client raises: HTTP and gRPC statuses, and messages of the server."""

from __future__ import annotations

import json
from typing import Any

from sidelight.instrumentation.vectordb.core.failures import Failure


def describe_error(error: BaseException) -> Failure:
    """The HTTP or gRPC status and the server's own message.

    Local mode raises plain `ValueError`s, REST an `UnexpectedResponse` that holds the whole
    answer, gRPC an error with a status.
    """
    error_type = type(error).__qualname__
    status = getattr(error, "status_code", None)
    if status is not None:
        return Failure(error_type, str(status), _server_message(error) or str(error))
    code = getattr(error, "code", None)
    if callable(code):
        details = getattr(error, "details", None)
        message = details() if callable(details) else None
        return Failure(
            error_type,
            getattr(code(), "name", None),
            message if isinstance(message, str) else str(error),
        )
    return Failure(error_type, None, str(error))


def _server_message(error: Any) -> str | None:
    """The message inside Qdrant's `{"status": {"error": …}}`."""
    try:
        return str(json.loads(error.content)["status"]["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
