"""What chromadb raises: its errors with an HTTP status, and those of the HTTP library."""

from __future__ import annotations

from sidelight.instrumentation.vectordb.core.failures import Failure


def describe_error(error: BaseException) -> Failure:
    """The HTTP status of Chroma's error, and its message.

    Where the request never reached a server the error is of the HTTP library and has no code.
    """
    code = getattr(error, "code", None)
    status = code() if callable(code) else None
    return Failure(
        type(error).__qualname__, str(status) if isinstance(status, int) else None, str(error)
    )
