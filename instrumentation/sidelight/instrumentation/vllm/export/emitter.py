"""Gives the spans of a request their ids, decides on sampling, and encodes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from sidelight.instrumentation.vllm.export import encode as wire
from sidelight.instrumentation.vllm.spans.server import ServerSpan
from sidelight.instrumentation.vllm.spans.trace import RequestTrace
from sidelight.instrumentation.vllm.trace_context import RemoteParent

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


class SpanEmitter:
    """Hands encoded spans to `put`. `flush` has the spans sent that were put so far."""

    def __init__(
        self,
        resource: Resource,
        put: Callable[[bytes], None],
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        # Only for its sampler, which it makes as OTEL_TRACES_SAMPLER says. It is never made global.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._put = put
        self.flush = flush

    def emit(self, trace: RequestTrace) -> None:
        """Hand over the spans, unless the caller or the sampler decided against the trace."""
        parent, server = trace.parent, trace.server
        number = parent.trace_id if parent else self._ids.generate_trace_id()
        if not self._sampled(number, parent, server):
            return
        trace_id, server_id = number.to_bytes(16, "big"), self._span_id()
        state = parent.trace_state if parent else ""
        for child in trace.phases:
            self._put(
                wire.encode_span(
                    wire.OtlpSpan(
                        trace_id=trace_id,
                        span_id=self._span_id(),
                        parent_id=server_id,
                        name=child.name,
                        kind=wire.INTERNAL,
                        start_ns=child.start_ns,
                        end_ns=child.end_ns,
                        attributes=child.attributes,
                        trace_state=state,
                    )
                )
            )
        self._put(
            wire.encode_span(
                wire.OtlpSpan(
                    trace_id=trace_id,
                    span_id=server_id,
                    parent_id=parent.span_id.to_bytes(8, "big") if parent else b"",
                    name=server.name,
                    kind=wire.SERVER,
                    start_ns=server.start_ns,
                    end_ns=server.end_ns,
                    attributes=server.attributes,
                    trace_state=state,
                    parent_is_remote=parent is not None,
                    error_type=server.error_type,
                    error_message=server.error_message,
                    events=_exception(server),
                )
            )
        )

    def _span_id(self) -> bytes:
        return self._ids.generate_span_id().to_bytes(8, "big")

    def _sampled(self, trace_id: int, parent: RemoteParent | None, server: ServerSpan) -> bool:
        context = Context()
        if parent is not None:
            flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else 0)
            remote = SpanContext(parent.trace_id, parent.span_id, True, flags)
            context = set_span_in_context(NonRecordingSpan(remote), context)
        result = self._sampler.should_sample(
            context, trace_id, server.name, SpanKind.SERVER, server.attributes
        )
        return result.decision is Decision.RECORD_AND_SAMPLE


def _exception(server: ServerSpan) -> tuple[tuple[str, int, dict[str, str]], ...]:
    # Langfuse reads the status message and drops events; Phoenix shows the event.
    if server.error_type is None:
        return ()
    attributes = {
        "exception.type": server.error_type,
        "exception.message": server.error_message or "",
    }
    return (("exception", server.end_ns, attributes),)
