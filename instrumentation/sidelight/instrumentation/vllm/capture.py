"""What is noted of one HTTP request while it passes: times, and references to bytes.

This runs on the API server's event loop for every chunk of every stream, so nothing is
parsed here; the worker reads the bytes once the request is over.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from time import perf_counter_ns, time_ns
from typing import Any, Final

from sidelight.instrumentation.vllm.routes import InferenceRoute

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_HELD_BYTES: Final = 64 * 1024 * 1024

# The end of a stream holds the finish reason, then the usage, then [DONE].
_TAIL_CHUNKS: Final = 4
MAX_TAIL_CHUNK_BYTES: Final = 64 * 1024
_HEADERS: Final = {
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
    b"baggage": "baggage",
    b"x-session-id": "session",
}


class CaptureBudget:
    """Bytes of bodies that are kept alive, counted without a lock.

    The event loop alone adds to `taken` and the worker alone adds to `released`, so neither
    sum can lose an update.
    """

    __slots__ = ("limit", "released", "taken")

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self.limit = limit
        self.taken = 0
        self.released = 0

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False if that would pass the limit."""
        if self.taken - self.released + size > self.limit:
            return False
        self.taken += size
        return True


class CapturedBody:
    """Chunks of a request or an answer, whole up to a cap."""

    __slots__ = ("_budget", "chunks", "limit", "size", "whole")

    def __init__(self, held: CaptureBudget, limit: int) -> None:
        self._budget = held
        self.limit = limit
        self.chunks: list[bytes] = []
        self.size = 0
        self.whole = True

    def add(self, chunk: bytes) -> None:
        """Keep a chunk, or note that the body is no longer whole."""
        if not self.whole:
            return
        if self.size + len(chunk) > self.limit or not self._budget.take(len(chunk)):
            self.whole = False
            return
        self.size += len(chunk)
        self.chunks.append(chunk)

    def release(self) -> None:
        """Let go of the bytes; for the worker alone."""
        self._budget.released += self.size
        self._forget()

    def abandon(self) -> None:
        """Let go of bytes that the worker will never see; for the event loop alone."""
        self._budget.taken -= self.size
        self._forget()

    def _forget(self) -> None:
        self.chunks = []
        self.size = 0


class StreamTail(CapturedBody):
    """The last chunks of a stream; of each of them its end, up to `limit` bytes."""

    __slots__ = ()

    def add(self, chunk: bytes) -> None:
        """Keep a chunk in place of the oldest one; for the event loop alone."""
        if len(chunk) > self.limit:
            chunk = chunk[-self.limit :]
        if len(self.chunks) == _TAIL_CHUNKS:
            oldest = len(self.chunks.pop(0))
            self._budget.taken -= oldest
            self.size -= oldest
        if self._budget.take(len(chunk)):
            self.size += len(chunk)
            self.chunks.append(chunk)


class CapturedRequest:
    """One request and its answer. `*_ns` are wall-clock nanoseconds unless said otherwise."""

    __slots__ = (
        "_clock_ns", "_keep_stream", "_last_chunk_ns", "aborted", "answer", "chunks", "completed",
        "content_type", "end_ns", "error", "facts", "first_chunk_ns", "headers", "max_gap_ns",
        "path", "request", "route", "server", "start_ns", "status", "stream", "tail",
    )  # fmt: skip

    def __init__(
        self, scope: Mapping[str, Any], route: InferenceRoute, held: CaptureBudget, keep: bool
    ) -> None:
        self.start_ns = time_ns()
        # Durations come from the monotonic clock: the wall clock may be set meanwhile.
        self._clock_ns = perf_counter_ns()
        self.route = route
        self.path: str = scope["path"]
        self.server: tuple[str, int | None] | None = scope.get("server")
        self.headers: dict[str, str] = {
            _HEADERS[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _HEADERS
        }
        self.request = CapturedBody(held, MAX_BODY_BYTES)
        self.answer = CapturedBody(held, MAX_BODY_BYTES)
        self._keep_stream = keep
        self.tail = StreamTail(held, MAX_TAIL_CHUNK_BYTES)
        self.status = 0
        self.content_type = b""
        self.stream = False
        self.chunks = 0
        self.first_chunk_ns = 0
        self._last_chunk_ns = 0
        self.max_gap_ns = 0
        self.completed = False
        self.aborted = False
        # The class name of what the application raised.
        self.error: str | None = None
        self.end_ns = 0
        # What the worker read in the request, once it has.
        self.facts: Any = None

    def now_ns(self) -> int:
        """Wall-clock time that only moves forward within the request."""
        return self.start_ns + perf_counter_ns() - self._clock_ns

    def received(self, message: Mapping[str, Any]) -> bool:
        """Note a message from the client; True when the request body is complete."""
        kind = message["type"]
        if kind == "http.request":
            chunk = message.get("body", b"")
            if chunk:
                self.request.add(chunk)
            return not message.get("more_body", False)
        if kind == "http.disconnect" and not self.completed:
            self.aborted = True
        return False

    def sent(self, message: MutableMapping[str, Any]) -> None:
        """Note a message to the client."""
        kind = message["type"]
        if kind == "http.response.body":
            chunk = message.get("body", b"")
            if chunk:
                self._chunk(chunk)
            if not message.get("more_body", False):
                self.completed = True
                self.end_ns = self.now_ns()
        elif kind == "http.response.start":
            self.status = message["status"]
            for name, value in message.get("headers", ()):
                if name.lower() == b"content-type":
                    self.content_type = value
                    self.stream = value.startswith(b"text/event-stream")

    def _chunk(self, chunk: bytes) -> None:
        now = self.now_ns()
        if self.chunks:
            gap = now - self._last_chunk_ns
            if gap > self.max_gap_ns:
                self.max_gap_ns = gap
        else:
            self.first_chunk_ns = now
        self._last_chunk_ns = now
        self.chunks += 1
        if not self.stream or self._keep_stream or not self.answer.chunks:
            self.answer.add(chunk)
        if self.stream:
            self.tail.add(chunk)

    def finish(self, error: str | None) -> None:
        """Close the request: the application has returned, or raised an `error`."""
        self.error = error
        if not self.completed:
            self.end_ns = self.now_ns()
