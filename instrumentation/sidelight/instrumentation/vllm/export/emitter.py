"""Gives the spans of a request their ids, decides on sampling, and encodes them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sidelight.instrumentation.vllm.export import traces
from sidelight.instrumentation.vllm.export.sampling import HeadSampler
from sidelight.instrumentation.vllm.spans.server import ServerSpan
from sidelight.instrumentation.vllm.spans.trace import RequestTrace
from sidelight.instrumentation.vllm.trace_context import RemoteParent


class SpanEmitter:
    """Hands encoded spans to `put`. `flush` has the spans sent that were put so far."""

    def __init__(
        self,
        sampler: HeadSampler,
        put: Callable[[bytes], None],
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._sampler = sampler
        # Of its own, seeded by the system: vLLM seeds the global one, and every start would
        # make the same ids.
        self._random = Random()  # noqa: S311 - ids are no secrets
        self._put = put
        self.flush = flush

    def emit(self, trace: RequestTrace) -> RemoteParent | None:
        """Hand over the spans, unless the caller or the sampler decided against the trace.

        Returns what a later child of the first span has as its parent; None if it was not sampled.
        """
        parent, server = trace.parent, trace.server
        number = parent.trace_id if parent else self._id(128)
        if not self._sampler.samples(number, parent):
            return None
        trace_id, server_id = number.to_bytes(16, "big"), self._span_id()
        state = parent.trace_state if parent else ""
        for child in trace.phases:
            self._put(
                traces.encode_span(
                    traces.OtlpSpan(
                        trace_id=trace_id,
                        span_id=self._span_id(),
                        parent_id=server_id,
                        name=child.name,
                        kind=traces.INTERNAL,
                        start_ns=child.start_ns,
                        end_ns=child.end_ns,
                        attributes=child.attributes,
                        trace_state=state,
                    )
                )
            )
        self._put(
            traces.encode_span(
                traces.OtlpSpan(
                    trace_id=trace_id,
                    span_id=server_id,
                    parent_id=parent.span_id.to_bytes(8, "big") if parent else b"",
                    name=server.name,
                    kind=traces.SERVER if server.is_entry else traces.CONSUMER,
                    start_ns=server.start_ns,
                    end_ns=server.end_ns,
                    attributes=server.attributes,
                    trace_state=state,
                    parent_is_remote=parent is not None and server.is_entry,
                    error_type=server.error_type,
                    error_message=server.error_message,
                    events=_exception(server),
                )
            )
        )
        span_id = int.from_bytes(server_id, "big")
        return RemoteParent(number, span_id, sampled=True, trace_state=state)

    def _span_id(self) -> bytes:
        return self._id(64).to_bytes(8, "big")

    def _id(self, bits: int) -> int:
        # Zero is no valid id.
        return self._random.getrandbits(bits) or 1


def _exception(server: ServerSpan) -> tuple[tuple[str, int, dict[str, str]], ...]:
    # Langfuse reads the status message and drops events; Phoenix shows the event.
    if server.error_type is None:
        return ()
    attributes = {
        "exception.type": server.error_type,
        "exception.message": server.error_message or "",
    }
    return (("exception", server.end_ns, attributes),)
