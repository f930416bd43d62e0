"""Lets the Milvus server join the client's trace, through gRPC metadata.

Metadata is made at one place in pymilvus, so that every request carries the span that is
current when it is sent: that of the observed call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry import propagate, trace

from sidelight.instrumentation.vectordb.core.patching import Patches

_MODULES: Final = ("pymilvus.client.grpc_handler", "pymilvus.client.async_grpc_handler")
_METADATA: Final = "_api_level_md"


def propagate_trace(patches: Patches) -> None:
    """Adds `traceparent` to requests, unless the process propagates no W3C trace context."""
    # An app may propagate another format, or nothing, and then wants no such header.
    if "traceparent" not in propagate.get_global_textmap().fields:
        return
    for path in _MODULES:
        module = patches.find(path)
        if module is not None:
            patches.replace(module, _METADATA, _with_traceparent)


def traceparent(span: trace.SpanContext) -> str:
    """The W3C header of `span` with no flag but `sampled`.

    Milvus up to 2.3.5 refuses the header if any other is set, as SDK 1.45 does with the
    random-trace-id flag.
    """
    sampled = "01" if span.trace_flags & trace.TraceFlags.SAMPLED else "00"
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{sampled}"


def _with_traceparent(metadata: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        headers = metadata(*args, **kwargs)
        span = trace.get_current_span().get_span_context()
        # A newer pymilvus may make its metadata of another type.
        if not span.is_valid or not (headers is None or isinstance(headers, list)):
            return headers
        return [*(headers or ()), ("traceparent", traceparent(span))]

    return wrapper
