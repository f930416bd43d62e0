"""What pymilvus raises: codes and messages of Milvus and gRPC."""

from __future__ import annotations

from sidelight.instrumentation.vectordb.core.failures import Failure


def describe_error(error: BaseException) -> Failure:
    """Milvus's code (or gRPC's, where no answer came) and its message.

    The code differs by server: a wrong dimension is 1 on Milvus Lite and 65535 on 2.3.5.
    """
    code = getattr(error, "code", None)
    if callable(code):
        code = code()
    message = getattr(error, "message", None)
    if not isinstance(message, str) or not message:
        details = getattr(error, "details", None)
        text = details() if callable(details) else None
        message = text if isinstance(text, str) and text else str(error)
    shown = str(int(code)) if isinstance(code, int) else getattr(code, "name", None)
    return Failure(type(error).__qualname__, shown, message)
