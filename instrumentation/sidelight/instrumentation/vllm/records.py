"""The raw records that the capture hands over, and their form as bytes.

A record is a plain tuple of its kind and its fields. It holds only ints, floats, strings, bytes,
None and tuples of those: `marshal` takes nothing else, and the garbage collector stops tracking
such tuples. `read` gives the fields their names.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sidelight.instrumentation.vllm.routes import ROUTES, InferenceRoute
from sidelight.instrumentation.vllm.sequences import SequenceFields
from sidelight.instrumentation.vllm.steps import StepFields
from sidelight.instrumentation.vllm.trace_context import join_headers

Record = tuple[Any, ...]
# Pairs of a place and its faults.
Faults = tuple[tuple[str, int], ...]

ENGINE: Final = 1
STEP: Final = 2
REQUEST_BODY: Final = 3
REQUEST_ENDED: Final = 4
HEALTH: Final = 5
SEQUENCES: Final = 6
ENGINES_STATE: Final = 7

HEADERS: Final = {
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
    b"baggage": "baggage",
    b"x-session-id": "session",
}
"""The request headers that are captured, and the names that `CapturedRequest` gives them."""

# Of one record, so that a damaged length cannot make the reader wait for gigabytes.
MAX_RECORD_BYTES: Final = 8 * 1024 * 1024
_LENGTH_BYTES: Final = 4


class CapturedEngine(NamedTuple):
    """An engine before its first step.

    `labels` are pairs of an attribute and its value, `limits` of a metric and what vLLM's
    configuration allows.
    `traced_by_vllm` says that vLLM sends spans of its own, which count tokens too.
    """

    engine: int
    labels: tuple[tuple[str, str | int], ...]
    traced_by_vllm: bool = False
    limits: tuple[tuple[str, int], ...] = ()


class CapturedStep(NamedTuple):
    """One engine step. `finished` holds the fields of each `FinishedSequence` in their order."""

    engine: int
    step: StepFields
    finished: tuple[SequenceFields, ...] = ()


class CapturedSequences(NamedTuple):
    """Sequences that ended outside of a step, as by an abort, or in one that is not reported."""

    ended: tuple[SequenceFields, ...]


class CapturedRequestBody(NamedTuple):
    """The body of request `number` of its process, as soon as it is complete.

    It is not `whole` if the cap cut it off. `active` counts the requests in hand, this one
    included. The start and the headers are those of `CapturedRequest`, which never comes if its
    process is killed.
    """

    number: int
    path: str
    chunks: tuple[bytes, ...]
    whole: bool
    active: int = 0
    headers_raw: tuple[tuple[bytes, bytes], ...] = ()
    start_ns: int = 0
    start_clock_ns: int = 0


class CapturedRequest(NamedTuple):
    """One request and its answer, once both are over.

    `start_ns` is wall-clock nanoseconds, `start_clock_ns` the same moment on the monotonic clock.
    `first_chunk_after_ns`, `end_after_ns` and `max_gap_ns` are durations; the first two count
    from the start. `error` is the class name of what the application raised. `body` is the
    request body if no `CapturedRequestBody` was handed over. `sequences` counts those that vLLM
    made of it. `invoked` is the path of the route that answered /invocations, once it is known.
    """

    number: int
    path: str
    headers_raw: tuple[tuple[bytes, bytes], ...]
    start_ns: int
    start_clock_ns: int
    end_after_ns: int
    first_chunk_after_ns: int
    max_gap_ns: int
    chunks: int
    status: int
    stream: bool
    completed: bool
    aborted: bool
    error: str | None
    answer: tuple[bytes, ...]
    answer_whole: bool
    tail: tuple[bytes, ...]
    body: tuple[bytes, ...] = ()
    body_whole: bool = True
    active: int = 0
    sequences: int = 0
    invoked: str | None = None

    @property
    def route(self) -> InferenceRoute:
        """The route that `path` names, or the one that /invocations stands for."""
        return ROUTES[self.invoked or self.path]

    @property
    def headers(self) -> dict[str, str]:
        """The captured headers by the names in `HEADERS`; repeated lists are joined."""
        return join_headers(self.headers_raw, HEADERS)

    @property
    def clock_offset_ns(self) -> int:
        """The wall clock minus the monotonic clock, when the request arrived."""
        return self.start_ns - self.start_clock_ns

    @property
    def end_clock_ns(self) -> int:
        """When the answer or the application ended, on the monotonic clock."""
        return self.start_clock_ns + self.end_after_ns

    @property
    def end_ns(self) -> int:
        """When the answer or the application ended, in wall-clock nanoseconds."""
        return self.start_ns + self.end_after_ns

    @property
    def first_chunk_ns(self) -> int:
        """When the first byte of the answer's body was sent, in wall-clock nanoseconds."""
        return self.start_ns + self.first_chunk_after_ns


class CapturedHealth(NamedTuple):
    """How the capture of one process fares since its start.

    `dropped` counts records that could not be handed over.
    """

    dropped: int
    faults: Faults = ()


class CapturedEnginesState(NamedTuple):
    """Whether the engines are awake: neither put to sleep nor paused."""

    awake: bool


Captured = (
    CapturedEngine
    | CapturedEnginesState
    | CapturedStep
    | CapturedSequences
    | CapturedRequestBody
    | CapturedRequest
    | CapturedHealth
)

_TYPES: Final[dict[int, type[Captured]]] = {
    ENGINE: CapturedEngine,
    ENGINES_STATE: CapturedEnginesState,
    STEP: CapturedStep,
    SEQUENCES: CapturedSequences,
    REQUEST_BODY: CapturedRequestBody,
    REQUEST_ENDED: CapturedRequest,
    HEALTH: CapturedHealth,
}
# Where a record keeps chunks of bodies; its first field is its kind.
_BODY: Final = 1 + CapturedRequestBody._fields.index("chunks")
_ANSWER, _TAIL, _LATE_BODY = (
    1 + CapturedRequest._fields.index(name) for name in ("answer", "tail", "body")
)


def unfinished(begun: CapturedRequestBody, end_clock_ns: int, error: str) -> CapturedRequest:
    """The record that never came of a request whose process is gone since `end_clock_ns`."""
    return CapturedRequest(
        number=begun.number,
        path=begun.path,
        headers_raw=begun.headers_raw,
        start_ns=begun.start_ns,
        start_clock_ns=begun.start_clock_ns,
        end_after_ns=max(0, end_clock_ns - begun.start_clock_ns),
        first_chunk_after_ns=0,
        max_gap_ns=0,
        chunks=0,
        status=0,
        stream=False,
        completed=False,
        aborted=False,
        error=error,
        answer=(),
        answer_whole=False,
        tail=(),
    )


def read(record: Record) -> Captured:
    """A record with names for its fields. Raises `KeyError` or `TypeError` for other tuples."""
    return _TYPES[record[0]](*record[1:])


def held_bytes(record: Record) -> int:
    """The bytes of bodies that a record keeps alive."""
    if record[0] == REQUEST_BODY:
        return sum(map(len, record[_BODY]))
    if record[0] == REQUEST_ENDED:
        return sum(map(len, record[_ANSWER] + record[_TAIL] + record[_LATE_BODY]))
    return 0


def encode(record: Record) -> bytes:
    """A record as bytes, with its length in front. Raises `ValueError` for other objects."""
    payload = marshal.dumps(record)
    return len(payload).to_bytes(_LENGTH_BYTES, "little") + payload


class RecordDecoder:
    """Cuts what a stream brought into records."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[Record]:
        """The records that are complete with these bytes.

        Raises `ValueError`, `EOFError` or `TypeError` for bytes that `encode` did not write.
        Such a stream cannot be read on.
        """
        buffer = self._buffer
        buffer += received
        start = 0
        try:
            while len(buffer) - start >= _LENGTH_BYTES:
                begin = start + _LENGTH_BYTES
                size = int.from_bytes(buffer[start:begin], "little")
                if size > MAX_RECORD_BYTES:
                    raise ValueError(f"a record of {size} bytes")
                if len(buffer) - begin < size:
                    return
                start = begin + size
                record = marshal.loads(buffer[begin:start])  # noqa: S302 - from our own user only
                if type(record) is not tuple or not record:
                    raise TypeError("not a record")
                yield record
        finally:
            del buffer[:start]
