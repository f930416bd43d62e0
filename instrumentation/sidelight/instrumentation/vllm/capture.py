"""What the middleware notes of one HTTP request while it passes: times, and references to bytes.

This runs on the API server's event loop for every chunk of every stream, so nothing is
parsed here; the processing thread reads the bytes once the request is over.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, Final

from sidelight.instrumentation.vllm.routes import InferenceRoute

if TYPE_CHECKING:
    from sidelight.instrumentation.vllm.parse import RequestFacts

MAX_BODY_BYTES: Final = 1024 * 1024
# Of all requests in flight and in the queue together.
MAX_CAPTURED_BYTES: Final = 64 * 1024 * 1024

# A stream ends with the finish reason, then the usage, then [DONE].
MAX_TAIL_CHUNKS: Final = 4
MAX_TAIL_CHUNK_BYTES: Final = 64 * 1024
_HEADERS: Final = {
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
    b"baggage": "baggage",
    b"x-session-id": "session",
}


class CaptureBudget:
    """Counts the bytes of bodies that are kept alive, without a lock.

    Only the event loop changes `taken` and only the processing thread changes `released`, so
    neither sum can lose an update.
    """

    __slots__ = ("limit", "released", "taken")

    def __init__(self, limit: int = MAX_CAPTURED_BYTES) -> None:
        self.limit = limit
        self.taken = 0
        self.released = 0

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False if that would exceed the limit."""
        if self.taken - self.released + size > self.limit:
            return False
        self.taken += size
        return True


class CapturedBody:
    """The chunks of a request or an answer, up to `limit` bytes.

    A body above the limit keeps its first chunks and is no longer `whole`.
    """

    __slots__ = ("_budget", "chunks", "limit", "size", "whole")

    def __init__(self, budget: CaptureBudget, limit: int) -> None:
        self._budget = budget
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
        """Let go of the bytes. Called by the processing thread only."""
        self._budget.released += self.size
        self._forget()

    def abandon(self) -> None:
        """Let go of bytes that were never queued. Called by the event loop only."""
        self._budget.taken -= self.size
        self._forget()

    def _forget(self) -> None:
        self.chunks = []
        self.size = 0


class StreamTail(CapturedBody):
    """The last chunks of a stream. Of each chunk the last `limit` bytes are kept."""

    __slots__ = ()

    def add(self, chunk: bytes) -> None:
        """Keep a chunk in place of the oldest one. Called by the event loop only."""
        if len(chunk) > self.limit:
            chunk = chunk[-self.limit :]
        if len(self.chunks) == MAX_TAIL_CHUNKS:
            oldest = len(self.chunks.pop(0))
            self._budget.taken -= oldest
            self.size -= oldest
        if self._budget.take(len(chunk)):
            self.size += len(chunk)
            self.chunks.append(chunk)


class CapturedRequest:
    """One request and its answer, as they passed through the middleware.

    `start_ns`, `first_chunk_ns` and `end_ns` are wall-clock nanoseconds, `max_gap_ns` is a
    duration.
    """

    __slots__ = (
        "_clock_ns", "_keep_stream", "_last_chunk_ns", "aborted", "answer", "chunks", "completed",
        "end_ns", "error", "facts", "first_chunk_ns", "headers", "max_gap_ns", "request", "route",
        "start_ns", "status", "stream", "tail",
    )  # fmt: skip

    def __init__(
        self,
        scope: Mapping[str, Any],
        route: InferenceRoute,
        budget: CaptureBudget,
        keep_stream: bool,
    ) -> None:
        self.start_ns = time_ns()
        # Durations come from the monotonic clock, because the wall clock may be set in between.
        self._clock_ns = perf_counter_ns()
        self.route = route
        self.headers: dict[str, str] = {
            _HEADERS[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _HEADERS
        }
        self.request = CapturedBody(budget, MAX_BODY_BYTES)
        self.answer = CapturedBody(budget, MAX_BODY_BYTES)
        self._keep_stream = keep_stream
        self.tail = StreamTail(budget, MAX_TAIL_CHUNK_BYTES)
        self.status = 0
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
        # Set by the processing thread once it has parsed the request body.
        self.facts: RequestFacts | None = None

    @property
    def clock_offset_ns(self) -> int:
        """The wall clock minus the monotonic clock, when the request arrived."""
        return self.start_ns - self._clock_ns

    def now_ns(self) -> int:
        """The wall-clock time, which never moves backwards within one request."""
        return self.start_ns + perf_counter_ns() - self._clock_ns

    def received(self, message: Mapping[str, Any]) -> bool:
        """Note a message from the client. Returns True when it completes the request body."""
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
        """Note that the application has returned, or raised an exception of class `error`."""
        self.error = error
        if not self.completed:
            self.end_ns = self.now_ns()
