"""Whether a trace is recorded: the caller decides, and for roots the sampler."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.sdk.resources import Resource

from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
from sidelight.instrumentation.vllm.spans.server import ServerSpan
from sidelight.instrumentation.vllm.spans.trace import RequestTrace
from sidelight.instrumentation.vllm.trace_context import RemoteParent

SPAN = ServerSpan("chat", 1, 2, {})


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, RemoteParent | None], int]:
    def emit(sampler: str, parent: RemoteParent | None) -> int:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        spans: list[bytes] = []
        SpanEmitter(Resource({}), spans.append).emit(RequestTrace(parent, SPAN, []))
        return len(spans)

    return emit


@pytest.mark.parametrize(
    ("sampler", "root", "sampled", "unsampled"),
    [
        ("parentbased_always_on", 1, 1, 0),
        ("parentbased_always_off", 0, 1, 0),
        ("always_on", 1, 1, 1),
        ("always_off", 0, 0, 0),
    ],
)
def test_sampler(
    emitted: Callable[[str, RemoteParent | None], int],
    sampler: str,
    root: int,
    sampled: int,
    unsampled: int,
) -> None:
    """`OTEL_TRACES_SAMPLER` means here what it means everywhere."""
    assert emitted(sampler, None) == root
    assert emitted(sampler, RemoteParent(1, 2, True, "")) == sampled
    assert emitted(sampler, RemoteParent(1, 2, False, "")) == unsampled
