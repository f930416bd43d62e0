"""Described spans get ids, a parent and a sampling decision, and go out encoded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision

from sidelight.instrumentation.vllm.export import encode as wire
from sidelight.instrumentation.vllm.spans.phases import PhaseSpan
from sidelight.instrumentation.vllm.spans.server import ServerSpan

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

# W3C Trace Context; versions to come may carry more after the flags.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_MAX_TRACESTATE_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class RemoteParent:
    """The span of the caller, out of its headers."""

    trace_id: int
    span_id: int
    sampled: bool
    trace_state: str


def read_parent(headers: dict[str, str]) -> RemoteParent | None:
    """The remote parent in the headers of a request; None without a valid one."""
    match = _TRACEPARENT.match(headers.get("traceparent", "").strip())
    if match is None:
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    if not trace_id or not span_id:
        return None
    state = headers.get("tracestate", "")
    return RemoteParent(
        trace_id,
        span_id,
        sampled=bool(int(match[3], 16) & trace.TraceFlags.SAMPLED),
        trace_state=state if len(state) <= _MAX_TRACESTATE_CHARACTERS else "",
    )


class SpanEmitter:
    """Hands the encoded spans of a request to `put`; `flush` asks for them to be sent."""

    def __init__(
        self,
        resource: Resource,
        put: Callable[[bytes], None],
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        # A provider of its own, never the global one: it reads the sampler from the environment.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._put = put
        self.flush = flush

    def emit(
        self, parent: RemoteParent | None, server: ServerSpan, children: list[PhaseSpan]
    ) -> None:
        """Send the spans unless the caller or the sampler decided against the trace."""
        number = parent.trace_id if parent else self._ids.generate_trace_id()
        if not self._sampled(number, parent, server):
            return
        trace_id, server_id = number.to_bytes(16, "big"), self._span_id()
        state = parent.trace_state if parent else ""
        for child in children:
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
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else 0)
            remote = trace.SpanContext(parent.trace_id, parent.span_id, True, flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(remote), context)
        result = self._sampler.should_sample(
            context, trace_id, server.name, trace.SpanKind.SERVER, server.attributes
        )
        return result.decision is Decision.RECORD_AND_SAMPLE


def _exception(server: ServerSpan) -> tuple[tuple[str, int, dict[str, str]], ...]:
    # Langfuse reads the status message and drops events; Phoenix shows the event.
    if server.error_type is None:
        return ()
    told = {"exception.type": server.error_type, "exception.message": server.error_message or ""}
    return (("exception", server.end_ns, told),)
