"""The ASGI middleware around applications that answer, stream, fail, and are left."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm import processing
from sidelight.instrumentation.vllm.capture import (
    MAX_BODY_BYTES,
    MAX_TAIL_CHUNK_BYTES,
    CapturedRequest,
)
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.parse import MAX_NAME_CHARACTERS
from support import asgi
from support.asgi import Client, Message, Receive, Send, events, reply, scope
from support.observed_vllm import Observed, finished

QUESTION = {
    "model": "tiny",
    "max_tokens": 5,
    "temperature": 0.5,
    "user": "ada",
    "messages": [{"role": "user", "content": "a secret question"}],
}
ANSWER = {
    "id": "chatcmpl-7",
    "object": "chat.completion",
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a secret answer"},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 3},
    },
}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


def piece(text: str = "", reason: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "chatcmpl-7", "model": "tiny", "choices": [choice]}


async def answering(_: Any, receive: Receive, send: Send) -> None:
    await asgi.read(receive)
    await reply(send, json.dumps(ANSWER).encode())


async def streaming(_: Any, receive: Receive, send: Send) -> None:
    await asgi.read(receive)
    usage = {"id": "chatcmpl-7", "choices": [], "usage": ANSWER["usage"]}
    chunks = events(piece("a "), piece("secret "), piece("answer"), piece("", "length"), usage)
    await reply(send, *chunks, content_type="text/event-stream; charset=utf-8")


async def call(
    observed: Observed,
    application: asgi.Application,
    body: object = QUESTION,
    given: dict[str, Any] | None = None,
) -> Client:
    client = Client(body, chunk_bytes=40)
    middleware = SidelightMiddleware(application, observed.runtime)
    await middleware(given or scope(), client.receive, client.send)
    return client


async def test_answer_passes_unchanged(observed: Observed) -> None:
    """The application hears every byte of the client, and the client every byte of it."""
    heard: list[bytes] = []

    async def echo(given: Any, receive: Receive, send: Send) -> None:
        heard.append(await asgi.read(receive))
        assert given["headers"] == [(b"accept", b"*/*")]
        await reply(send, b"one", b"two", status=207, content_type="text/plain")

    client = await call(observed, echo, QUESTION, scope(accept="*/*"))
    assert json.loads(heard[0]) == QUESTION
    assert (client.status, client.answer) == (207, b"onetwo")


async def test_whole_answer(observed: Observed) -> None:
    """A request without a caller's trace is an LLM span with model, parameters and usage."""
    await call(observed, answering)
    span = observed.server_span()
    assert (span.name, span.parent_id, span.status) == ("chat tiny", "", 0)
    expected = {
        names.SPAN_KIND: "LLM",
        names.OPERATION: "chat",
        names.PROVIDER: "vllm",
        names.REQUEST_MODEL: "tiny",
        names.RESPONSE_MODEL: "tiny",
        names.RESPONSE_ID: "chatcmpl-7",
        names.REQUEST_MAX_TOKENS: 5,
        names.REQUEST_TEMPERATURE: 0.5,
        names.REQUEST_STREAM: False,
        names.FINISH_REASONS: ["stop"],
        names.INPUT_TOKENS: 11,
        names.OUTPUT_TOKENS: 5,
        names.CACHED_TOKENS: 3,
        names.SERVED_INPUT_TOKENS: 11,
        names.SERVED_OUTPUT_TOKENS: 5,
        names.HTTP_STATUS: 200,
        names.HTTP_ROUTE: "/v1/chat/completions",
    }
    assert expected.items() <= span.attributes.items()


@pytest.mark.parametrize(
    ("policy", "kind", "counts"),
    [("auto", "CHAIN", False), ("llm", "LLM", True), ("chain", "CHAIN", False)],
)
async def test_below_a_caller(
    observe: Callable[..., Observed], policy: str, kind: str, counts: bool
) -> None:
    """Below a caller's span tokens count once: there, unless the settings say here."""
    observed = observe(vllm_span_kind=policy)
    await call(observed, answering, given=scope(traceparent=TRACEPARENT, tracestate="v=1"))
    span = observed.server_span()
    assert (span.trace_id, span.parent_id, span.trace_state) == (TRACE, CALLER, "v=1")
    assert span.attributes[names.SPAN_KIND] == kind
    assert (names.INPUT_TOKENS in span.attributes) is counts
    assert span.attributes[names.SERVED_INPUT_TOKENS] == 11


@pytest.mark.parametrize(
    "header", ["", "00-x-y-01", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01"]
)
async def test_invalid_caller(observed: Observed, header: str) -> None:
    """A trace context that is not valid is none."""
    await call(observed, answering, given=scope(traceparent=header))
    assert observed.server_span().parent_id == ""


async def test_unsampled_caller(observed: Observed) -> None:
    """A caller that decided against the trace gets no span in it."""
    await call(observed, answering, given=scope(traceparent=f"00-{TRACE}-{CALLER}-00"))
    assert observed.spans() == []


async def test_stream(observed: Observed) -> None:
    """Of a stream the end says why it ended and what it used; its rhythm is measured."""
    await call(observed, streaming, QUESTION | {"stream": True})
    attributes = observed.server_span().attributes
    assert attributes[names.REQUEST_STREAM] is True
    assert attributes[names.FINISH_REASONS] == ["length"]
    assert attributes[names.OUTPUT_TOKENS] == 5
    assert attributes[names.RESPONSE_ID] == "chatcmpl-7"
    assert attributes[names.STREAM_CHUNKS] == 6
    assert attributes[names.STREAM_MAX_GAP] > 0
    assert attributes[names.TIME_TO_FIRST_TOKEN] > 0
    assert names.LANGFUSE_COMPLETION_START in attributes


async def test_engine_figures(observed: Observed) -> None:
    """Figures of the finished sequence become children and attributes of the server span."""

    async def serving(given: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(running=4)
        await asyncio.sleep(0.01)
        observed.step(finished("chatcmpl-7", num_preemptions=2), running=3)
        await reply(send, *events(piece("x", "stop")), content_type="text/event-stream")

    headers = {"baggage": "session.id=s%2F1;p=1, user.id=ada", "traceparent": TRACEPARENT}
    await call(observed, serving, QUESTION | {"stream": True}, scope(**headers))
    spans = observed.spans()
    server = observed.server_span()
    assert [span.name for span in spans] == ["queue", "prefill", "decode", "chat tiny"]
    for child in spans[:-1]:
        assert (child.trace_id, child.parent_id) == (TRACE, server.span_id)
        assert server.start_ns <= child.start_ns <= child.end_ns <= server.end_ns
    for span in spans:
        assert span.attributes[names.SESSION_ID] == "s/1"
        assert span.attributes[names.USER_ID] == "ada"
    attributes = server.attributes
    assert attributes[names.SERVED_INPUT_TOKENS] == 11
    assert attributes[names.SERVED_OUTPUT_TOKENS] == 5
    assert attributes[names.SERVED_CACHED_TOKENS] == 3
    assert attributes[names.PREEMPTIONS] == 2
    decode = spans[2].attributes
    for name in (names.STEPS, names.STEPS_WITH_PREFILL):
        assert attributes[name] == decode[name]
    assert attributes[names.QUEUE_TIME] == 0.0005
    assert attributes[names.BATCH_SIZE_MAX] == 4
    assert attributes[names.KV_USAGE_PEAK] == 0.25


async def test_client_leaves(observed: Observed) -> None:
    """A client that leaves before the end is an abort: no error, and counted."""
    client = Client(QUESTION | {"stream": True})

    async def endless(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": events(piece("a"))[0], "more_body": True})
        client.leave()
        assert (await receive())["type"] == "http.disconnect"
        raise asyncio.CancelledError

    middleware = SidelightMiddleware(endless, observed.runtime)
    with pytest.raises(asyncio.CancelledError):
        await middleware(scope(), client.receive, client.send)
    span = observed.server_span()
    assert span.attributes[names.CLIENT_ABORTED] is True
    assert span.attributes[names.STREAM_CHUNKS] == 1
    assert span.status == 0
    aborts = [
        r for r in observed.runtime.processing.data_points() if r.metric == names.CLIENT_ABORTS
    ]
    assert [point.value for point in aborts] == [1]


async def test_leaving_after_the_end_is_no_abort(observed: Observed) -> None:
    """A connection that closes once the answer is complete is the ordinary case."""
    client = Client(QUESTION)

    async def lingering(given: Any, receive: Receive, send: Send) -> None:
        await answering(given, receive, send)
        client.leave()
        await receive()

    await SidelightMiddleware(lingering, observed.runtime)(scope(), client.receive, client.send)
    assert names.CLIENT_ABORTED not in observed.server_span().attributes


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_refusals(observed: Observed, status: int) -> None:
    """What inner layers refuse is an error span with the status and vLLM's message."""

    async def refusing(_: Any, receive: Receive, send: Send) -> None:
        error = {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError"}}
        await reply(send, json.dumps(error).encode(), status=status)

    await call(observed, refusing)
    span = observed.server_span()
    assert (span.status, span.message) == (2, "The model `x` does not exist.")
    assert span.attributes[names.ERROR_TYPE] == str(status)
    assert span.attributes[names.HTTP_STATUS] == status
    assert span.events[0][0] == "exception"


async def test_error_within_a_stream(observed: Observed) -> None:
    """A stream that began with 200 and carries an error is an error."""

    async def breaking(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        error = {"error": {"message": "KV load failed", "type": "InternalServerError"}}
        await reply(send, *events(piece("a"), error), content_type="text/event-stream")

    await call(observed, breaking)
    span = observed.server_span()
    assert (span.status, span.message) == (2, "KV load failed")
    assert span.attributes[names.ERROR_TYPE] == "InternalServerError"


async def test_exception_of_the_application(observed: Observed) -> None:
    """The application's exception reaches the server as it was, and the span its class."""

    async def raising(*_: Any) -> None:
        raise RuntimeError("a secret in a message")

    with pytest.raises(RuntimeError, match="a secret in a message"):
        await call(observed, raising)
    span = observed.server_span()
    assert span.attributes[names.ERROR_TYPE] == "RuntimeError"
    assert "secret" not in span.message


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_failed_requests_hold_nothing(observed: Observed, error: type[BaseException]) -> None:
    """What a failed request had in its frames is let go at once, not by the garbage collector."""

    class CaptureBudget: ...

    frames: list[weakref.ref[CaptureBudget]] = []

    async def raising(*_: Any) -> None:
        held = CaptureBudget()
        frames.append(weakref.ref(held))
        raise error

    gc.disable()
    try:
        with suppress(error):
            await call(observed, raising)
        assert len(observed.spans()) == 1
        assert frames[0]() is None
    finally:
        gc.enable()


async def test_no_content_by_default(observed: Observed) -> None:
    """Without permission no word of prompt, answer, user or error detail leaves the process."""

    async def quoting(_: Any, receive: Receive, send: Send) -> None:
        error = "1 validation error: {'type': 'missing', 'input': {'content': 'a secret question'}}"
        await reply(send, json.dumps({"error": {"message": error}}).encode(), status=400)

    for application in (answering, streaming, quoting):
        await call(observed, application)
    spans = observed.spans()
    assert len(spans) == 3
    assert "secret" not in repr(spans)
    assert names.USER_ID not in spans[0].attributes
    assert "1 validation error" in spans[2].message


@pytest.mark.parametrize("application", [answering, streaming])
async def test_content(observe: Callable[..., Observed], application: asgi.Application) -> None:
    """With permission prompt and answer show in the shapes that Langfuse and Phoenix read."""
    observed = observe(capture_content="full")
    await call(observed, application)
    attributes = observed.server_span().attributes
    text = {"type": "text", "content": "a secret answer"}
    reason = attributes[names.FINISH_REASONS][0]
    assert json.loads(attributes[names.OUTPUT_MESSAGES]) == [
        {"role": "assistant", "parts": [text], "finish_reason": reason}
    ]
    assert json.loads(attributes[names.INPUT_MESSAGES])[0]["role"] == "user"
    assert json.loads(attributes[names.INPUT_VALUE]) == QUESTION["messages"]
    assert json.loads(attributes[names.OUTPUT_VALUE])["content"] == "a secret answer"
    assert attributes[names.USER_ID] == "ada"
    assert names.CONTENT_TRUNCATED not in attributes


async def test_names_of_any_length(observe: Callable[..., Observed]) -> None:
    """What a body says of models, ids and reasons goes out as far as a name may be long."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    long = "a secret " * 10_000

    async def verbose(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        error = {"type": long, "message": ""}
        choices = [{"index": 0, "finish_reason": long}]
        answer = {"id": long, "model": long, "choices": choices, "error": error}
        await reply(send, json.dumps(answer).encode())

    observed.step(finished(long))
    await call(observed, verbose, {"model": long, "user": long, "stop_reason": long})
    span = observed.server_span()
    assert len(span.name) == len("chat ") + MAX_NAME_CHARACTERS
    assert span.attributes[names.REQUEST_MODEL] == long[:MAX_NAME_CHARACTERS]
    for value in span.attributes.values():
        for text in value if isinstance(value, list) else [value]:
            assert len(str(text)) <= MAX_NAME_CHARACTERS
    assert not observed.runtime.processing._finished


async def test_truncated_content(observe: Callable[..., Observed]) -> None:
    """A text beyond its cap is cut, stays valid JSON, and the span says so."""
    observed = observe(capture_content="truncated", max_characters=8)
    await call(observed, answering)
    attributes = observed.server_span().attributes
    assert json.loads(attributes[names.INPUT_VALUE])[0]["content"] == "a secret"
    assert attributes[names.CONTENT_TRUNCATED] is True


@pytest.mark.parametrize(
    "given",
    [
        scope("/health"),
        scope("/metrics", "GET"),
        scope("/v1/models", "GET"),
        scope("/v1/chat/completions", "OPTIONS"),
        {"type": "lifespan"},
        {"type": "websocket", "path": "/v1/realtime"},
    ],
)
async def test_other_requests(observed: Observed, given: dict[str, Any]) -> None:
    """Whatever is no inference request gets the application's own callables and no span."""
    client = Client({})
    seen: list[Any] = []

    async def application(given: Any, receive: Receive, send: Send) -> None:
        seen.extend((receive, send))

    middleware = SidelightMiddleware(application, observed.runtime)
    await middleware(given, client.receive, client.send)
    assert seen == [client.receive, client.send]
    assert observed.spans() == []


async def test_root_path(observed: Observed) -> None:
    """Behind a proxy's prefix the routes are the same."""
    given = scope("/prefix/v1/chat/completions") | {"root_path": "/prefix"}
    await call(observed, answering, given=given)
    assert observed.server_span().attributes[names.HTTP_ROUTE] == "/v1/chat/completions"


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
    assert span.name == "chat tiny"
    assert span.attributes[names.RESPONSE_ID] == "chatcmpl-7"
    held = observed.runtime.budget
    assert held.taken == held.released


async def test_all_bodies_together_are_bounded(observed: Observed) -> None:
    """Once the limit on all bodies is reached, requests are observed without theirs."""
    observed.runtime.budget.limit = 10
    await call(observed, answering)
    assert observed.server_span().name == "chat"
    assert observed.runtime.budget.taken <= 10


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


async def test_streams_while_nobody_reads(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that finds the queue full lets go of its bytes itself."""
    monkeypatch.setattr(observed.runtime.queue, "_capacity", 0)
    await call(observed, streaming)
    assert observed.runtime.budget.taken == 0


@pytest.mark.parametrize("broken", ["__init__", "received", "sent", "finish"])
async def test_our_own_faults(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A fault of ours never reaches the application or the client, is counted, and ends us."""

    def fault(*_: object, **__: object) -> None:
        raise KeyError("our own fault")

    monkeypatch.setattr(CapturedRequest, broken, fault)
    for _ in range(12):
        client = await call(observed, answering)
        assert json.loads(client.answer) == ANSWER
    guard = observed.runtime.middleware_guard
    assert guard.off
    assert 10 <= guard.faults <= 40


async def test_full_inbox(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody reading, requests are dropped and counted, and no byte stays held."""
    monkeypatch.setattr(observed.runtime.queue, "_capacity", 3)
    for _ in range(5):
        await call(observed, answering)
    assert observed.runtime.queue.dropped == 7
    assert len(observed.spans()) == 1
    assert observed.runtime.budget.taken == observed.runtime.budget.released


async def test_messages_that_are_not_asgi(observed: Observed) -> None:
    """Odd messages of an application pass to the server, which may know better."""

    async def odd(_: Any, receive: Receive, send: Send) -> None:
        message: Message = {"type": "http.response.trailers", "headers": []}
        await send(message)
        await send({"no": "type"})

    client = await call(observed, odd)
    assert len(client.sent) == 2
