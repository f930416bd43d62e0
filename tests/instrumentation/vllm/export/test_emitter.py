"""The ids that spans get, and which traces are handed over."""

from __future__ import annotations

import random

from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
from sidelight.instrumentation.vllm.export.sampling import HeadSampler
from sidelight.instrumentation.vllm.export.traces import traces_request
from sidelight.instrumentation.vllm.spans.phases import PhaseSpan
from sidelight.instrumentation.vllm.spans.server import ServerSpan
from sidelight.instrumentation.vllm.spans.trace import RequestTrace
from sidelight.instrumentation.vllm.trace_context import RemoteParent
from support.otlp_receiver import ReceivedSpan, decode_spans

SERVER = ServerSpan("chat", 1, 4, {})


def emitted(
    sampler: HeadSampler, parent: RemoteParent | None, *phases: PhaseSpan
) -> list[ReceivedSpan]:
    """The spans of one trace."""
    spans: list[bytes] = []
    SpanEmitter(sampler, spans.append).emit(RequestTrace(parent, SERVER, list(phases)))
    return decode_spans(traces_request(b"", "", spans))


def test_a_root_and_its_phases() -> None:
    """Ids are new and not zero; phases are children of the server span."""
    queue, prefill, server = emitted(
        HeadSampler(), None, PhaseSpan("q", 1, 2), PhaseSpan("p", 2, 3)
    )
    assert (server.name, server.parent_id) == ("chat", "")
    assert {queue.parent_id, prefill.parent_id} == {server.span_id}
    assert {queue.trace_id, prefill.trace_id} == {server.trace_id}
    assert len({queue.span_id, prefill.span_id, server.span_id}) == 3
    assert int(server.trace_id, 16)


def test_a_span_below_its_caller() -> None:
    """The trace and its state are the caller's, without leading zeros lost."""
    (server,) = emitted(HeadSampler(), RemoteParent(1, 2, True, "vendor=1"))
    assert (server.trace_id, server.parent_id) == (f"{1:032x}", f"{2:016x}")
    assert server.trace_state == "vendor=1"


def test_unsampled() -> None:
    """Nothing is encoded for a trace that is not recorded."""
    assert emitted(HeadSampler(), RemoteParent(1, 2, False, ""), PhaseSpan("q", 1, 2)) == []
    assert emitted(HeadSampler(ratio=0.0), None) == []


def test_ids_after_a_seed() -> None:
    """vLLM seeds Python's generator, and would repeat the ids of its last start."""
    traces = set()
    for _ in range(2):
        random.seed(0)
        traces |= {span.trace_id for span in emitted(HeadSampler(), None)}
    assert len(traces) == 2
