"""The ASGI middleware around applications that answer, stream, fail, and are left."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from contextlib import suppress
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.capture import RequestCapture
from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW
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
    aborts = [r for r in observed.processing.data_points() if r.metric == names.CLIENT_ABORTS]
    assert [point.value for point in aborts] == [1]


@pytest.mark.parametrize("error", [None, RuntimeError, asyncio.CancelledError])
async def test_requests_in_hand_are_counted(
    observed: Observed, error: type[BaseException] | None
) -> None:
    """While the application has them, however they end: an engine that is frozen shows nothing."""
    seen = []

    async def application(given: Any, receive: Receive, send: Send) -> None:
        seen.append(observed.runtime.active_requests)
        if error is not None:
            raise error
        await answering(given, receive, send)

    with suppress(error or AssertionError):
        await call(observed, application)
    assert (seen, observed.runtime.active_requests) == ([1], 0)


async def test_leaving_after_the_end_is_no_abort(observed: Observed) -> None:
    """A connection that closes once the answer is complete is the ordinary case."""
    client = Client(QUESTION)

    async def lingering(given: Any, receive: Receive, send: Send) -> None:
        await answering(given, receive, send)
        client.leave()
        await receive()

    await SidelightMiddleware(lingering, observed.runtime)(scope(), client.receive, client.send)
    assert names.CLIENT_ABORTED not in observed.server_span().attributes


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


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("broken", ["__init__", "received", "_sent", "body_record", "ended_record"])
async def test_our_own_faults(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, broken: str, error: type[BaseException]
) -> None:
    """A fault of ours never reaches the application or the client, is counted, and ends us."""

    def fault(*_: object, **__: object) -> None:
        raise error("our own fault")

    monkeypatch.setattr(RequestCapture, broken, fault)
    for _ in range(MAX_FAULTS_IN_A_ROW + 2):
        client = await call(observed, answering)
        assert json.loads(client.answer) == ANSWER
    guard = observed.runtime.middleware_guard
    assert guard.off
    assert guard.faults == MAX_FAULTS_IN_A_ROW


@pytest.mark.parametrize("broken", ["_sent", "_keep_large"])
async def test_faults_are_counted_once_for_each_request(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """One stream of many chunks is one fault, and a request without one ends a run."""
    whole = getattr(RequestCapture, broken)
    chunks = events(*[piece("a long text " * 200)] * 5, piece("", "stop"))

    async def streaming(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, *chunks, content_type="text/event-stream")

    def fault(*_: object) -> None:
        raise KeyError

    for _ in range(2 * MAX_FAULTS_IN_A_ROW):
        monkeypatch.setattr(RequestCapture, broken, fault)
        client = await call(observed, streaming)
        assert client.answer == b"".join(chunks)
        monkeypatch.setattr(RequestCapture, broken, whole)
        await call(observed, streaming)
    guard = observed.runtime.middleware_guard
    assert guard.faults == 2 * MAX_FAULTS_IN_A_ROW
    assert not guard.off


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
async def test_what_ends_the_application(observed: Observed, error: type[BaseException]) -> None:
    """What is raised in the application, or by a signal while our code runs, goes on."""

    async def ending(_: Any, receive: Receive, send: Send) -> None:
        raise error

    with pytest.raises(error):
        await call(observed, ending)
    assert observed.runtime.middleware_guard.faults == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_signal_while_our_code_runs(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """vLLM's own handlers of signals raise, and vLLM must end."""

    def interrupted(*_: object) -> None:
        raise error

    monkeypatch.setattr(RequestCapture, "received", interrupted)
    with pytest.raises(error):
        await call(observed, answering)
    assert observed.runtime.middleware_guard.faults == 0


async def test_full_queue(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody reading, requests are dropped and counted, and no byte stays held."""
    monkeypatch.setattr(observed.queue, "_capacity", 3)
    for _ in range(5):
        await call(observed, answering)
    assert observed.queue.dropped == 7
    assert len(observed.spans()) == 1
    assert observed.runtime.budget.taken == observed.runtime.budget.released


async def test_streams_while_nobody_reads(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that finds the queue full lets go of its bytes itself."""
    monkeypatch.setattr(observed.queue, "_capacity", 0)
    await call(observed, streaming)
    assert observed.runtime.budget.taken == 0


async def test_messages_that_are_not_asgi(observed: Observed) -> None:
    """Odd messages of an application pass to the server, which may know better."""

    async def odd(_: Any, receive: Receive, send: Send) -> None:
        message: Message = {"type": "http.response.trailers", "headers": []}
        await send(message)
        await send({"no": "type"})

    client = await call(observed, odd)
    assert len(client.sent) == 2
