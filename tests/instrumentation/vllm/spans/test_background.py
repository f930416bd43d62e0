"""Background responses: answered at once, worked on later, and their work is in the trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.spans.background import MAX_SEQUENCES
from support import asgi
from support.asgi import Receive, Send, reply, scope
from support.observed_vllm import Observed, finished
from support.otlp_receiver import ReceivedSpan
from support.vllm_application import TRACEPARENT, call

REQUEST = {"model": "tiny", "input": "look", "background": True, "store": True}
ANSWER = {"id": "resp_1", "object": "response", "model": "tiny", "status": "queued", "usage": None}


async def answer_at_once(observed: Observed, **headers: str) -> None:
    """A background request that is answered before the engine begins."""

    async def queueing(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, json.dumps(ANSWER).encode())

    observed.step()
    await call(observed, queueing, REQUEST, scope("/v1/responses", **headers))


def by_name(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    """Spans by their names, which must differ."""
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


async def test_late_children(observed: Observed) -> None:
    """The server span is sent at once; the work follows as its child, with phases and tokens."""
    await answer_at_once(observed, baggage="session.id=s1")
    (server,) = observed.spans()
    assert names.INPUT_TOKENS not in server.attributes
    assert server.attributes[names.LANGFUSE_COST] == names.LANGFUSE_NO_COST
    observed.step(finished("resp_1_0"))
    spans = by_name(observed.spans())
    work = spans["background"]
    assert (work.trace_id, work.parent_id, work.kind) == (server.trace_id, server.span_id, 5)
    assert work.attributes[names.SPAN_KIND] == "LLM"
    assert work.attributes[names.REQUEST_MODEL] == "tiny"
    assert work.attributes[names.INPUT_TOKENS] == 11
    assert work.attributes[names.OUTPUT_TOKENS] == 5
    assert work.attributes[names.FINISH_REASONS] == ["stop"]
    for name in ("queue", "prefill", "decode"):
        assert spans[name].parent_id == work.span_id
        assert spans[name].attributes[names.SESSION_ID] == "s1"


async def test_turns(observed: Observed) -> None:
    """Each turn of a response with built-in tools is a span, up to a bound."""
    await answer_at_once(observed)
    for turn in range(MAX_SEQUENCES + 5):
        observed.step(finished(f"resp_1_{turn}"))
    observed.step(finished("resp_2_0"))
    assert sum(span.name == "background" for span in observed.spans()) == MAX_SEQUENCES


async def test_whose_tokens_count(observe: Callable[..., Observed]) -> None:
    """As with other requests, those of a caller with a trace of its own are not counted again."""
    observed = observe()
    await answer_at_once(observed, traceparent=TRACEPARENT)
    observed.spans()
    observed.step(finished("resp_1_0"))
    work = by_name(observed.spans())["background"]
    assert work.attributes[names.SPAN_KIND] == "CHAIN"
    assert names.INPUT_TOKENS not in work.attributes
    assert work.attributes[names.SERVED_INPUT_TOKENS] == 11


async def test_a_trace_that_is_not_sampled(observed: Observed) -> None:
    """Its work is not sampled either."""
    await answer_at_once(observed, traceparent=TRACEPARENT[:-2] + "00")
    observed.spans()
    observed.step(finished("resp_1_0"))
    assert observed.spans() == []


@pytest.mark.parametrize("finishes", [False, True])
async def test_its_api_server_ends(observed: Observed, finishes: bool) -> None:
    """What was not finished by then has a span that says so; what was has its own."""
    await answer_at_once(observed, baggage="session.id=s1")
    (server,) = observed.spans()
    if finishes:
        observed.step(finished("resp_1_0"))
        observed.spans()
    for _ in range(2):
        observed.processing.source_closed(0, ended=True)
    (work,) = [span for span in observed.spans() if span.name == "background"]
    assert (work.trace_id, work.parent_id) == (server.trace_id, server.span_id)
    assert work.start_ns <= work.end_ns
    assert work.attributes[names.SESSION_ID] == "s1"
    expected = (0, None) if finishes else (2, names.SERVER_ENDED)
    assert (work.status, work.attributes.get(names.ERROR_TYPE)) == expected
