"""What the middleware notes of one WebSocket of `/v1/realtime`: each transcription is a request.

A connection may last for hours and transcribe many utterances, each of which the engine works on
as a request of its own, with its own usage. So a span is one transcription, from the commit that
starts it to its last event. They share the caller's span and the conversation, which is the
connection's session.

This runs on the API server's event loop for every message, so nothing is parsed here. Audio is
not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns, time_ns
from typing import Any, Final, Protocol

from sidelight.instrumentation.vllm import current_request
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.records import HEADERS, REQUEST_BODY, REQUEST_ENDED, Record

SWITCHING_PROTOCOLS: Final = 101
FORBIDDEN: Final = 403
# Messages of a client that are not audio are short.
MAX_CONTROL_CHARACTERS: Final = 1024
MAX_EVENT_BYTES: Final = 256 * 1024
# vLLM writes the type first.
_HEAD_CHARACTERS: Final = 48


class InHand(Protocol):
    """Counts what the API server has in hand, on the event loop alone."""

    active_requests: int


class RealtimeCapture:
    """One connection while its messages pass, and the transcription that is going on in it."""

    __slots__ = (
        "_budget", "_chunks", "_current", "_first_chunk", "_headers", "_in_hand", "_last_chunk",
        "_left", "_max_gap", "_open", "_path", "_session", "_start", "_start_ns", "_status",
        "_update", "failed",
    )  # fmt: skip

    def __init__(
        self, scope: Mapping[str, Any], path: str, budget: CaptureBudget, in_hand: InHand
    ) -> None:
        self._headers = tuple(pair for pair in scope["headers"] if pair[0] in HEADERS)
        self._path = path
        self._budget = budget
        self._in_hand = in_hand
        self._session = b""
        self._update = b""
        self._status = 0
        self._open = False
        self._left = False
        self.failed = False
        self._begin()

    def _begin(self) -> None:
        self._current = CurrentRequest()
        self._start_ns = time_ns()
        self._start = monotonic_ns()
        self._first_chunk = self._start
        self._last_chunk = 0
        self._max_gap = 0
        self._chunks = 0

    def received(self, message: Mapping[str, Any]) -> Record | None:
        """Note a message from the client. Returns the record of a transcription that it begins."""
        if message["type"] == "websocket.disconnect":
            self._left = True
            return None
        text = message.get("text")
        if text is None or len(text) > MAX_CONTROL_CHARACTERS or self._open:
            return None
        if '"session.update"' in text:
            self._update = text.encode()
        elif '"input_audio_buffer.commit"' in text and not ('"final"' in text and "true" in text):
            self._begin()
            # The task that is told of the commit starts the one that transcribes.
            current_request.begin(self._current)
            self._open = True
            self._in_hand.active_requests += 1
            return self._body_record()
        return None

    def _body_record(self) -> Record:
        body = (self._update,) if self._budget.take(len(self._update)) else ()
        return (
            REQUEST_BODY,
            self._current.number,
            self._path,
            body,
            True,
            self._in_hand.active_requests,
            self._headers,
            self._start_ns,
            self._start,
        )

    def sent(self, message: Mapping[str, Any]) -> Record | None:
        """Note a message to the client. Returns the record of a transcription that it ends."""
        kind = message["type"]
        if kind == "websocket.accept":
            self._status = SWITCHING_PROTOCOLS
        elif kind == "websocket.close" and not self._status:
            self._status = FORBIDDEN
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
        text = message.get("text")
        if text is None:
            return None
        head = text[:_HEAD_CHARACTERS]
        if '"transcription.delta"' in head:
            self._chunk()
        elif '"session.created"' in head:
            self._session = text.encode()[:MAX_CONTROL_CHARACTERS]
        elif '"transcription.done"' in head or '"type":"error"' in head:
            if not self._open:
                # An error outside of a transcription is a request that was refused.
                self._begin()
            return self._record(text.encode(), None, completed=True)
        return None

    def _chunk(self) -> None:
        now = monotonic_ns()
        if self._chunks:
            self._max_gap = max(self._max_gap, now - self._last_chunk)
        else:
            self._first_chunk = now
        self._last_chunk = now
        self._chunks += 1

    def ended(self, error: str | None) -> Record | None:
        """The record of what the end of the connection cut off; None if there was nothing."""
        refused = self._status not in (0, SWITCHING_PROTOCOLS)
        if not self._open and not refused and error is None:
            return None
        return self._record(b"", error, completed=refused)

    def _record(self, event: bytes, error: str | None, *, completed: bool) -> Record:
        self._in_hand.active_requests -= self._open
        self._open = False
        answer = tuple(
            b"data: " + said + b"\n\n" for said in (self._session, event[:MAX_EVENT_BYTES]) if said
        )
        if not self._budget.take(sum(map(len, answer)) * 2 + len(self._update)):
            answer = ()
            self._budget.taken += len(self._update)
        return (
            REQUEST_ENDED,
            self._current.number,
            self._path,
            self._headers,
            self._start_ns,
            self._start,
            monotonic_ns() - self._start,
            self._first_chunk - self._start,
            self._max_gap,
            self._chunks,
            self._status,
            True,
            completed,
            self._left and not completed,
            error,
            answer,
            True,
            answer,
            (self._update,),
            True,
            self._in_hand.active_requests,
            self._current.sequences,
        )
