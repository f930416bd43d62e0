"""How much of requests and answers is kept, and that it is let go."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm import processing
from sidelight.instrumentation.vllm.capture import (
    MAX_BODY_BYTES,
    MAX_TAIL_CHUNK_BYTES,
)
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from support import asgi
from support.asgi import Client, Message, Receive, Send, events, reply, scope
from support.observed_vllm import Observed
from support.vllm_application import (
    ANSWER,
    QUESTION,
    answering,
    call,
    piece,
    streaming,
)


async def test_huge_bodies(observed: Observed) -> None:
    """Bodies beyond the cap are not kept; model and id are still read at their head."""
    filler = "x" * (MAX_BODY_BYTES + 1)

    async def verbose(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, json.dumps(ANSWER).encode(), filler.encode())

    client = Client(QUESTION | {"padding": filler}, chunk_bytes=65_536)
    middleware = SidelightMiddleware(verbose, observed.runtime)
    await middleware(scope(), client.receive, client.send)
    span = observed.server_span()
    assert span.name == "vllm chat tiny"
    assert span.attributes[names.RESPONSE_ID] == "chatcmpl-7"
    held = observed.runtime.budget
    assert held.taken == held.released


async def test_a_huge_answer_in_one_piece(observe: Callable[..., Observed]) -> None:
    """Its beginning is kept: the id, the model, and with content what was said there."""
    observed = observe(capture_content="full")

    async def verbose(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        answer = ANSWER | {"prompt_logprobs": "x" * (MAX_BODY_BYTES + 1)}
        await reply(send, json.dumps(answer).encode())

    await call(observed, verbose)
    span = observed.server_span()
    assert span.attributes[names.RESPONSE_ID] == "chatcmpl-7"
    assert "a secret answer" in span.attributes[names.OUTPUT_VALUE]
    assert span.attributes[names.CONTENT_TRUNCATED] is True
    assert observed.runtime.budget.taken == observed.runtime.budget.released


@pytest.mark.parametrize("application", [answering, streaming])
@pytest.mark.parametrize("content", ["off", "full"])
async def test_all_bodies_together_are_bounded(
    observe: Callable[..., Observed], application: asgi.Application, content: str
) -> None:
    """Once the limit on all bodies is reached, requests are observed without theirs."""
    observed = observe(capture_content=content)
    budget = observed.runtime.budget
    budget.limit = 10
    await call(observed, application)
    assert observed.server_span().name == "vllm chat"
    assert budget.released == budget.taken <= 10


async def test_a_stream_beyond_the_limit(observe: Callable[..., Observed]) -> None:
    """With content its beginning is kept, and its end, which has the usage."""
    observed = observe(capture_content="full")
    usage = {"id": "chatcmpl-7", "choices": [], "usage": ANSWER["usage"]}
    chunks = events(*[piece("word " * 150)] * 2_000, piece("", "length"), usage)
    assert sum(map(len, chunks)) > MAX_BODY_BYTES

    async def verbose(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, *chunks, content_type="text/event-stream")

    await call(observed, verbose)
    attributes = observed.server_span().attributes
    assert attributes[names.FINISH_REASONS] == ["length"]
    assert attributes[names.SERVED_INPUT_TOKENS] == 11
    assert attributes[names.CONTENT_TRUNCATED] is True
    assert attributes[names.STREAM_CHUNKS] == len(chunks)
    assert observed.runtime.budget.taken == observed.runtime.budget.released


@pytest.mark.parametrize("content", ["off", "full"])
@pytest.mark.parametrize(
    "last", [{}, {"body": b""}, {"body": b"data: [DONE]\n\n"}, {"more_body": False}]
)
async def test_the_last_message_may_leave_out_its_keys(
    observe: Callable[..., Observed], content: str, last: dict[str, Any]
) -> None:
    """ASGI has defaults for both; the stream is complete, and each chunk is counted."""
    observed = observe(capture_content=content)
    chunks = events(piece("a"), piece("b"), piece("", "stop"))

    async def streaming_tersely(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", **last})

    await call(observed, streaming_tersely)
    attributes = observed.server_span().attributes
    assert attributes[names.STREAM_CHUNKS] == len(chunks) + bool(last.get("body"))
    assert attributes[names.FINISH_REASONS] == ["stop"]
    assert names.ERROR_TYPE not in attributes
    assert observed.runtime.budget.taken == observed.runtime.budget.released
    assert observed.runtime.middleware_guard.faults == 0


async def test_ends_of_streams_are_bounded(observed: Observed) -> None:
    """The last chunks of a stream count among what is held, and a huge one with its end only."""
    held: list[int] = []
    usage = {"id": "chatcmpl-7", "choices": [], "usage": ANSWER["usage"]}
    huge = b"".join([b"data: %b\n\n" % (b"x" * 1_000_000), *events(piece("", "length"), usage)])

    async def verbose(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)

        async def counting(message: Message) -> None:
            await send(message)
            held.append(observed.runtime.budget.taken)

        chunks = [*events(piece("a")), *[b"data: %b\n\n" % (b"x" * 300_000)] * 9, huge]
        await reply(counting, *chunks, content_type="text/event-stream")

    await call(observed, verbose)
    assert 3 * MAX_TAIL_CHUNK_BYTES < max(held) < 5 * MAX_TAIL_CHUNK_BYTES
    attributes = observed.server_span().attributes
    assert attributes[names.FINISH_REASONS] == ["length"]
    assert attributes[names.INPUT_TOKENS] == 11
    assert observed.runtime.budget.taken == observed.runtime.budget.released


async def test_a_request_that_cannot_be_read_holds_nothing(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a request and its answer held is let go though the worker cannot read them."""

    def fault(*_: object) -> None:
        raise KeyError("our own fault")

    monkeypatch.setattr(processing, "read_request", fault)
    await call(observed, streaming)
    assert observed.spans() == []
    assert observed.runtime.budget.taken == observed.runtime.budget.released > 0
