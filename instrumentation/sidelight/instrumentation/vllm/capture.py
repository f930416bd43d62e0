"""What the middleware notes of one HTTP request while it passes: times, and references to bytes.

This runs on the API server's event loop for every chunk of every stream, so nothing is
parsed here. Bytes are read where the records of the request go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import monotonic, monotonic_ns, time_ns
from typing import Any, Final

from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.records import HEADERS, REQUEST_BODY, REQUEST_ENDED, Record

MAX_BODY_BYTES: Final = 1024 * 1024
# Of a body that comes as one chunk above that.
MAX_HEAD_BYTES: Final = 64 * 1024
# Of all requests in flight and in the queue together.
MAX_CAPTURED_BYTES: Final = 64 * 1024 * 1024

# A stream ends with the finish reason, then the usage, then [DONE].
MAX_TAIL_CHUNKS: Final = 4
MAX_TAIL_CHUNK_BYTES: Final = 64 * 1024
# Of each chunk of a tail. This much is reserved for the whole tail at once, so that the usual
# chunk, which is smaller, needs no accounting.
RESERVED_CHUNK_BYTES: Final = 1024
_RESERVED_BYTES: Final = MAX_TAIL_CHUNKS * RESERVED_CHUNK_BYTES
_NANOSECONDS: Final = 1_000_000_000


Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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
    """The chunks of a request or an answer, up to `MAX_BODY_BYTES`.

    A body above the limit keeps its first chunks and is no longer `whole`. What it does not keep
    goes to its `tail` if it has one.
    """

    __slots__ = ("_budget", "_reserved", "chunks", "size", "tail", "whole")

    def __init__(self, budget: CaptureBudget) -> None:
        self._budget = budget
        # In the budget, for chunks that are to come too: a stream has thousands of small ones.
        self._reserved = 0
        self.chunks: list[bytes] = []
        self.size = 0
        self.whole = True
        self.tail: StreamTail | None = None

    def add(self, chunk: bytes) -> None:
        """Keep a chunk, or note that the body is no longer whole."""
        size = self.size + len(chunk)
        if size <= self._reserved:
            self.size = size
            self.chunks.append(chunk)
        else:
            self._add_beyond(chunk, size)

    def _add_beyond(self, chunk: bytes, size: int) -> None:
        if self.whole and size <= MAX_BODY_BYTES:
            for reserved in (min(2 * self._reserved, MAX_BODY_BYTES), size):
                if reserved >= size and self._budget.take(reserved - self._reserved):
                    self._reserved = reserved
                    self.size = size
                    self.chunks.append(chunk)
                    return
        if self.whole:
            self.whole = False
            # A whole answer comes as one chunk, which begins with its id and model.
            head = b"" if self.chunks else chunk[:MAX_HEAD_BYTES]
            if head and self._budget.take(len(head)):
                self._reserved = self.size = len(head)
                self.chunks.append(head)
            self._give_back()
        if self.tail is not None:
            self.tail.add(chunk)

    def _give_back(self) -> None:
        self._budget.taken -= self._reserved - self.size
        self._reserved = self.size

    def take(self) -> tuple[bytes, ...]:
        """The chunks, which are the caller's from now on, as are their bytes in the budget."""
        self._give_back()
        chunks = tuple(self.chunks)
        self.chunks = []
        self.size = self._reserved = 0
        return chunks


class StreamTail:
    """The last chunks of a stream. Of each chunk the last `MAX_TAIL_CHUNK_BYTES` are kept."""

    __slots__ = ("_budget", "_extra", "chunks", "reserved")

    def __init__(self, budget: CaptureBudget) -> None:
        self._budget = budget
        self.chunks: deque[bytes] = deque(maxlen=MAX_TAIL_CHUNKS)
        self.reserved = budget.take(_RESERVED_BYTES)
        # Bytes beyond what is reserved for each chunk.
        self._extra = 0

    def add(self, chunk: bytes) -> None:
        """Keep a chunk in place of the oldest one."""
        if len(chunk) <= RESERVED_CHUNK_BYTES and not self._extra and self.reserved:
            self.chunks.append(chunk)
        else:
            self._add_large(chunk)

    def _add_large(self, chunk: bytes) -> None:
        if not self.reserved:
            return
        if len(chunk) > MAX_TAIL_CHUNK_BYTES:
            chunk = chunk[-MAX_TAIL_CHUNK_BYTES:]
        budget = self._budget
        budget.taken -= self._extra
        if not budget.take(max(0, len(chunk) - RESERVED_CHUNK_BYTES)):
            # Its end is the part that counts.
            chunk = chunk[-RESERVED_CHUNK_BYTES:]
        self.chunks.append(chunk)
        extra = sum(max(0, len(kept) - RESERVED_CHUNK_BYTES) for kept in self.chunks)
        budget.taken += extra - max(0, len(chunk) - RESERVED_CHUNK_BYTES)
        self._extra = extra

    def take(self) -> tuple[bytes, ...]:
        """The chunks, which are the caller's from now on, as are their bytes in the budget."""
        chunks = tuple(self.chunks)
        self.chunks.clear()
        if self.reserved:
            self._budget.taken += sum(map(len, chunks)) - _RESERVED_BYTES - self._extra
        self._extra = 0
        self.reserved = False
        return chunks


class RequestCapture:
    """One request and its answer while they pass through the middleware."""

    __slots__ = (
        "_answer", "_body", "_budget", "_chunks", "_end", "_fault", "_first_chunk", "_headers",
        "_is_under_way", "_keep", "_keep_stream", "_last_chunk", "_max_gap", "_path", "_send",
        "_start", "_start_ns", "_status", "_stream", "_tail", "aborted", "body_handed_over",
        "completed", "current", "failed",
    )  # fmt: skip

    def __init__(
        self,
        scope: Mapping[str, Any],
        path: str,
        budget: CaptureBudget,
        keep_stream: bool,
        send: Send,
        fault: Callable[[RequestCapture, BaseException], None],
    ) -> None:
        self._send = send
        self._fault = fault
        self._start_ns = time_ns()
        # Durations come from the monotonic clock, because the wall clock may be set in between.
        self._start = monotonic_ns()
        self.current = CurrentRequest()
        self._path = path
        # From a list, which costs less than a generator.
        self._headers = tuple([pair for pair in scope["headers"] if pair[0] in HEADERS])
        self._budget = budget
        self._body = CapturedBody(budget)
        self._answer = CapturedBody(budget)
        self._keep_stream = keep_stream
        # Where chunks of the answer go.
        self._keep: Callable[[bytes], None] = self._answer.add
        self._is_under_way = False
        self._tail: StreamTail | None = None
        self._status = 0
        self._stream = False
        self._chunks = 0
        self._first_chunk = self._start
        # In seconds: Python computes with floats faster than with ints of this size.
        self._last_chunk = self._max_gap = 0.0
        self._end = 0
        self.completed = False
        self.aborted = False
        self.body_handed_over = False
        # Whether a fault of ours was counted for this request.
        self.failed = False

    def received(self, message: Mapping[str, Any]) -> bool:
        """Note a message from the client. Returns True when it completes the request body."""
        kind = message["type"]
        if kind == "http.request":
            chunk = message.get("body", b"")
            if chunk:
                self._body.add(chunk)
            return not message.get("more_body", False)
        if kind == "http.disconnect" and not self.completed:
            self.aborted = True
            self._is_under_way = False
        return False

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Note a message to the client, and send it. Raises what the server's `send` raises.

        One frame, which is no coroutine: a second one would cost a chunk as much as the rest.
        """
        try:
            if self._is_under_way:
                try:
                    # By subscripts, which cost less than calls of `get`.
                    chunk, has_more = message["body"], message["more_body"]
                except KeyError:
                    # An application may leave out either of them.
                    chunk, has_more = b"", False
                # All chunks of a stream but the first and the last.
                if chunk and has_more:
                    now = monotonic()
                    gap = now - self._last_chunk
                    if gap > self._max_gap:
                        self._max_gap = gap
                    self._last_chunk = now
                    self._chunks += 1
                    if len(chunk) <= RESERVED_CHUNK_BYTES:
                        self._keep(chunk)
                    else:
                        self._keep_large(chunk)
                else:
                    self._sent(message)
            else:
                self._sent(message)
        except BaseException as error:  # noqa: BLE001 - ours, never the application's
            self._fault(self, error)
        return self._send(message)

    def _keep_large(self, chunk: bytes) -> None:
        if self._tail is not None and not self._keep_stream:
            # From now on each chunk is counted.
            self._keep = self._tail.add
        self._keep(chunk)

    def _sent(self, message: MutableMapping[str, Any]) -> None:
        if self.aborted:
            # vLLM and Starlette answer on, but the server sends nothing of it.
            return
        kind = message["type"]
        if kind == "http.response.body":
            chunk = message.get("body")
            if chunk:
                self._sent_chunk(chunk)
            if not message.get("more_body", False):
                self.completed = True
                self._end = monotonic_ns()
        elif kind == "http.response.start":
            # Often an enum's, which has no form as bytes.
            self._status = int(message["status"])
            for name, value in message.get("headers", ()):
                if name.lower() == b"content-type":
                    self._stream = value.startswith(b"text/event-stream")
            if self._stream and self._tail is None:
                self._tail = tail = StreamTail(self._budget)
                if self._keep_stream:
                    # An answer that is kept whole has its end already.
                    self._answer.tail = tail
                else:
                    # Without a call of ours, as long as chunks are small.
                    self._keep = tail.chunks.append if tail.reserved else tail.add

    def _sent_chunk(self, chunk: bytes) -> None:
        now = monotonic()
        if self._chunks:
            self._max_gap = max(self._max_gap, now - self._last_chunk)
        else:
            self._first_chunk = monotonic_ns()
            self._is_under_way = self._stream
            if self._tail is not None and not self._keep_stream:
                # It has the id and the model.
                self._answer.add(chunk)
        self._last_chunk = now
        self._chunks += 1
        if len(chunk) <= RESERVED_CHUNK_BYTES:
            self._keep(chunk)
        else:
            self._keep_large(chunk)

    def body_record(self, active: int) -> Record:
        """The record of the complete request body, whose bytes are the caller's from now on."""
        body = self._body
        return (
            REQUEST_BODY,
            self.current.number,
            self._path,
            body.take(),
            body.whole,
            active,
            self._headers,
            self._start_ns,
            self._start,
        )

    def ended_record(self, error: str | None, active: int) -> Record:
        """The record of the whole, once the application has returned or raised an `error`.

        Its bytes are the caller's from now on.
        """
        start = self._start
        return (
            REQUEST_ENDED,
            self.current.number,
            self._path,
            self._headers,
            self._start_ns,
            start,
            (self._end if self.completed else monotonic_ns()) - start,
            self._first_chunk - start,
            round(self._max_gap * _NANOSECONDS),
            self._chunks,
            self._status,
            self._stream,
            self.completed,
            self.aborted,
            error,
            self._answer.take(),
            self._answer.whole,
            () if self._tail is None else self._tail.take(),
            self._body.take(),
            self._body.whole,
            active,
            self.current.sequences,
        )
