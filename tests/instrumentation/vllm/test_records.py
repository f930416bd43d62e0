"""Raw records and their form as bytes."""

from __future__ import annotations

import gc
import marshal

import pytest

from sidelight.instrumentation.vllm import records
from sidelight.instrumentation.vllm.records import (
    MAX_RECORD_BYTES,
    REQUEST_BODY,
    STEP,
    CapturedRequest,
    CapturedRequestBody,
    RecordDecoder,
)
from support.observed_vllm import Observed, finished
from support.vllm_application import answering, call, streaming

STEPS = [(STEP, 0, (float(number), 1, 0, 0.5, 0, 1, 0, 0, 0, 0), ()) for number in range(5)]


async def test_everything_captured_has_a_form_as_bytes(observed: Observed) -> None:
    """What passes through the capture comes back from bytes as it was."""
    await call(observed, answering)
    await call(observed, streaming)
    captured = observed.queue.drain()
    observed.step(finished("cmpl-a"))
    observed.end(finished("cmpl-b", finish_reason="abort"))
    captured += observed.queue.drain()
    decoder = RecordDecoder()
    assert list(decoder.feed(b"".join(map(records.encode, captured)))) == captured
    kinds = [type(records.read(record)).__name__ for record in captured]
    assert kinds == ["CapturedRequestBody", "CapturedRequest"] * 2 + [
        "CapturedStep",
        "CapturedSequences",
    ]


def test_records_come_in_pieces() -> None:
    """A record is read once its last byte is here, however the bytes were cut."""
    raw = b"".join(map(records.encode, STEPS))
    for size in (1, 3, 100):
        decoder = RecordDecoder()
        pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
        assert [record for piece in pieces for record in decoder.feed(piece)] == STEPS


@pytest.mark.parametrize(
    "raw",
    [
        (MAX_RECORD_BYTES + 1).to_bytes(4, "little"),
        b"\x05\x00\x00\x00nonse",
        records.encode((STEP,))[:4] + b"i\x01\x00\x00\x00" * 3,
    ],
)
def test_bytes_that_are_no_records(raw: bytes) -> None:
    """Bytes that nobody encoded are refused, and do not make the reader wait for more."""
    with pytest.raises((ValueError, EOFError, TypeError)):
        list(RecordDecoder().feed(raw))


def test_unknown_kinds() -> None:
    """A kind that is not known, and fields that are too many, are errors of that record."""
    with pytest.raises(KeyError):
        records.read((99, 1))
    with pytest.raises(TypeError):
        records.read((STEP, 0, (), (), "more"))


async def test_the_garbage_collector_leaves_records_alone(observed: Observed) -> None:
    """Thousands of queued records cost the collections of vLLM's process nothing."""
    await call(observed, answering)
    # A copy: what exists when a collector starts in this process is collected no more.
    step = marshal.loads(marshal.dumps(STEPS[0]))
    captured = [*observed.queue.drain(), step]
    # The inner tuples come first.
    for _ in range(3):
        gc.collect()
    assert [gc.is_tracked(record) for record in captured] == [False] * 3


def test_held_bytes() -> None:
    """The bytes of bodies count, and nothing else does."""
    body = CapturedRequestBody(1, "/v1/completions", (b"12", b"345"), True)
    assert records.held_bytes((REQUEST_BODY, *body)) == 5
    assert records.held_bytes(STEPS[0]) == 0


async def test_times_of_a_request(observed: Observed) -> None:
    """Wall-clock times follow from the start and what the monotonic clock counted since."""
    await call(observed, streaming)
    *_, ended = map(records.read, observed.queue.drain())
    assert isinstance(ended, CapturedRequest)
    assert ended.start_ns < ended.first_chunk_ns <= ended.end_ns
    assert ended.chunks == 6
    assert ended.route.dialect == "chat"
