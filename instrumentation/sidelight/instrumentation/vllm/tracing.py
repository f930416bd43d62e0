"""Described spans in OpenTelemetry's form, with ids, a parent and a sampling decision.

Spans are made as finished `ReadableSpan`s: all their facts are known, and starting and ending
a live span for each costs twice as much as everything else done for a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sidelight import conventions as names
from sidelight.instrumentation.vllm.server_span import ServerSpan
from sidelight.instrumentation.vllm.spans import Phase

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from sidelight.instrumentation.vllm.export import Outbox


class Tracing:
    """Emits a server span and its phases into an outbox."""

    def __init__(self, resource: Resource, outbox: Outbox) -> None:
        # A provider of its own, never the global one: it reads the sampler from the environment.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._outbox = outbox
        self._scope = InstrumentationScope(names.SCOPE_VLLM)
        self._propagator = TraceContextTextMapPropagator()

    def parent(self, headers: dict[str, str]) -> trace.SpanContext | None:
        """The remote parent in the headers of a request; None without a valid one."""
        if "traceparent" not in headers:
            return None
        context = self._propagator.extract(headers, Context())
        parent = trace.get_current_span(context).get_span_context()
        return parent if parent.is_valid else None

    def emit(
        self, parent: trace.SpanContext | None, server: ServerSpan, children: list[Phase]
    ) -> None:
        """Queue the spans unless the caller or the sampler decided against the trace."""
        context = Context()
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        ids = self._provider.id_generator
        trace_id = parent.trace_id if parent else ids.generate_trace_id()
        sampling = self._provider.sampler.should_sample(
            context, trace_id, server.name, trace.SpanKind.SERVER, server.attributes
        )
        if sampling.decision is not Decision.RECORD_AND_SAMPLE:
            return
        state = parent.trace_state if parent else sampling.trace_state
        own = self._context(trace_id, state)
        for child in children:
            self._outbox.put(
                self._span(
                    child.name, self._context(trace_id, state), own, child.attributes,
                    start_time=child.start_ns, end_time=child.end_ns,
                )
            )  # fmt: skip
        self._outbox.put(
            self._span(
                server.name,
                own,
                parent,
                server.attributes,
                kind=trace.SpanKind.SERVER,
                start_time=server.start_ns,
                end_time=server.end_ns,
                **_failure(server),
            )
        )

    def _context(self, trace_id: int, state: trace.TraceState | None) -> trace.SpanContext:
        span_id = self._provider.id_generator.generate_span_id()
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        return trace.SpanContext(trace_id, span_id, False, flags, state)

    def _span(
        self,
        name: str,
        context: trace.SpanContext,
        parent: trace.SpanContext | None,
        attributes: dict[str, Any],
        **more: Any,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context,
            parent,
            self._provider.resource,
            attributes,
            instrumentation_scope=self._scope,
            **more,
        )


def _failure(server: ServerSpan) -> dict[str, Any]:
    if server.error_type is None:
        return {}
    # Langfuse reads the status message and drops events; Phoenix shows the event.
    told = {"exception.type": server.error_type, "exception.message": server.error_message or ""}
    return {
        "status": trace.Status(trace.StatusCode.ERROR, server.error_message),
        "events": (Event("exception", told, timestamp=server.end_ns),),
    }
