"""The realtime WebSocket: each transcription is a span, as vLLM 0.32 talks on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from support.observed_vllm import Observed
from support.vllm_application import CALLER, TRACEPARENT

SAID = "a secret word"
USAGE = {"prompt_tokens": 11, "total_tokens": 16, "completion_tokens": 5}
CREATED = {"type": "session.created", "id": "sess-1", "created": 1}
DONE = {"type": "transcription.done", "text": SAID, "usage": USAGE}
UPDATE = {"type": "session.update", "model": "tiny"}
COMMIT = {"type": "input_audio_buffer.commit"}
FINAL = {"type": "input_audio_buffer.commit", "final": True}
AUDIO = {"type": "input_audio_buffer.append", "audio": "AAAA" * 1000}


def delta(text: str) -> dict[str, str]:
    """A piece of a transcription."""
    return {"type": "transcription.delta", "delta": text}


async def talk(
    observed: Observed,
    *turns: dict[str, Any],
    error: type[BaseException] | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = ((b"traceparent", TRACEPARENT.encode()),),
) -> list[dict[str, Any]]:
    """A connection on which client and server say these events; what the client heard.

    Those that begin with `session.created`, `transcription` or `error` are the server's.
    """
    heard: list[dict[str, Any]] = []
    turn = iter(turns)
    pending: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return pending.pop(0)

    async def send(message: Any) -> None:
        heard.append(message)

    async def serving(_: Any, receive: Any, send: Any) -> None:
        pending.append({"type": "websocket.connect"})
        await receive()
        await send({"type": "websocket.accept"})
        for event in turn:
            text = json.dumps(event, separators=(",", ":"))
            if event["type"].startswith(("session.created", "transcription", "error")):
                await send({"type": "websocket.send", "text": text})
            else:
                pending.append({"type": "websocket.receive", "text": text})
                await receive()
        if error is not None:
            raise error
        pending.append({"type": "websocket.disconnect", "code": 1001})
        await receive()

    scope = {"type": "websocket", "path": "/v1/realtime", "headers": headers}
    await SidelightMiddleware(serving, observed.runtime)(scope, receive, send)
    return heard


async def test_transcriptions(observed: Observed) -> None:
    """Each is a span below the caller's, with its own tokens, in one conversation."""
    heard = await talk(
        observed, CREATED, UPDATE, COMMIT, AUDIO, delta("a "), AUDIO, delta("word"), FINAL, DONE,
        COMMIT, AUDIO, delta("more"), DONE,
    )  # fmt: skip
    assert len(heard) == 7
    first, second = observed.spans()
    for span, chunks in ((first, 2), (second, 1)):
        assert (span.name, span.parent_id, span.status) == (
            "vllm transcription tiny", CALLER, 0,
        )  # fmt: skip
        assert span.attributes[names.CONVERSATION_ID] == "sess-1"
        assert names.RESPONSE_ID not in span.attributes
        assert span.attributes[names.HTTP_METHOD] == "GET"
        assert span.attributes[names.HTTP_STATUS] == 101
        assert span.attributes[names.SERVED_INPUT_TOKENS] == 11
        assert span.attributes[names.SERVED_OUTPUT_TOKENS] == 5
        assert span.attributes[names.STREAM_CHUNKS] == chunks
        assert names.TIME_TO_FIRST_TOKEN in span.attributes
    assert first.end_ns <= second.start_ns
    assert SAID not in repr(observed.spans())


async def test_requests_beside_it(observed: Observed) -> None:
    """A transcription that ends does not take the HTTP requests that are in hand with it."""
    observed.runtime.active_requests = 3
    await talk(observed, CREATED, UPDATE, COMMIT, delta("a"), DONE)
    observed.spans()
    points = {point.metric: point.value for point in observed.processing.data_points()}
    assert points[names.SERVER_ACTIVE] == 3


async def test_its_api_server_ends(observed: Observed) -> None:
    """Within a transcription it has a span that says so. Until then the engine is not late."""
    observed.step()
    during: list[Any] = []

    async def cut_off(_: Any, receive: Any, send: Any) -> None:
        for _event in range(3):
            await receive()
        during.append(observed.runtime.active_requests)
        observed.thread.process()
        points = {point.metric: point.value for point in observed.processing.data_points()}
        during.append(points[names.SERVER_STEP_AGE])
        observed.processing.source_closed(0, ended=True)

    said = iter([CREATED, UPDATE, COMMIT])

    async def receive() -> dict[str, Any]:
        text = json.dumps(next(said), separators=(",", ":"))
        return {"type": "websocket.receive", "text": text}

    async def send(_: Any) -> None: ...

    headers = ((b"traceparent", TRACEPARENT.encode()),)
    given = {"type": "websocket", "path": "/v1/realtime", "headers": headers}
    await SidelightMiddleware(cut_off, observed.runtime)(given, receive, send)
    span = observed.spans()[0]
    assert span.attributes[names.ERROR_TYPE] == names.SERVER_ENDED
    assert (span.name, span.parent_id) == ("vllm transcription tiny", CALLER)
    assert (during, observed.runtime.active_requests) == ([1, 0.0], 0)


async def test_content(observe: Callable[..., Observed]) -> None:
    """The text is captured if content is; audio never is."""
    observed = observe(capture_content="full")
    await talk(observed, CREATED, UPDATE, COMMIT, AUDIO, delta("a"), DONE)
    span = observed.server_span()
    assert span.attributes[names.OUTPUT_VALUE] == SAID
    assert "AAAA" not in repr(span)


async def test_refused(observed: Observed) -> None:
    """An error is a span of its own, with what is safe of vLLM's message."""
    error = {"type": "error", "error": "The model `tiny` does not exist.",
             "code": "model_not_found"}  # fmt: skip
    await talk(observed, CREATED, UPDATE, error)
    span = observed.server_span()
    assert (span.status, span.attributes[names.ERROR_TYPE]) == (2, "model_not_found")
    assert span.message == error["error"]


async def test_client_leaves(observed: Observed) -> None:
    """Within a transcription it is an abort; between two of them it is nothing."""
    await talk(observed, CREATED, UPDATE, COMMIT, delta("a"), DONE, COMMIT, delta("b"))
    _, span = observed.spans()
    assert span.attributes[names.CLIENT_ABORTED] is True
    assert span.attributes[names.ERROR_TYPE] == names.CLIENT_DISCONNECT


async def test_server_fails(observed: Observed) -> None:
    """The application's exception passes, and its name is the error."""
    with pytest.raises(asyncio.CancelledError):
        await talk(observed, CREATED, UPDATE, COMMIT, error=asyncio.CancelledError)
    assert observed.server_span().attributes[names.ERROR_TYPE] == "CancelledError"


async def test_faults_are_ours(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the capture changes nothing for the client, and holds no bytes."""
    monkeypatch.setattr("sidelight.instrumentation.vllm.realtime.HEADERS", None)
    assert len(await talk(observed, CREATED, COMMIT, DONE)) == 3
    assert observed.runtime.middleware_guard.faults == 1
    monkeypatch.undo()
    await talk(observed, CREATED, UPDATE, COMMIT, delta("a"), DONE)
    observed.spans()
    assert observed.runtime.budget.taken == observed.runtime.budget.released
