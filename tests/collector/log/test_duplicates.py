"""A request that is sent again is stored once, and never acknowledged before it is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.log import duplicates as module
from sidelight.collector.log.duplicates import Duplicates
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.errors import LogFailedError
from sidelight.collector.log.record import Record, encode
from sidelight.collector.log.writer import LogWriter
from sidelight.otlp.signals import Signal
from support.held_log import HeldLog
from support.span_load import new_ids, request_of
from support.waiting import eventually_async


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def disk() -> HeldLog:
    found = HeldLog()
    found.go.set()
    return found


@pytest.fixture
async def writer(disk: HeldLog) -> AsyncIterator[LogWriter]:
    found = LogWriter(disk, max_pending_bytes=1 << 20)
    yield found
    disk.go.set()
    await found.close()


def _always(signal: Signal, body: bytes) -> bool:
    return True


async def test_stored_once_within_the_window(disk: HeldLog, writer: LogWriter) -> None:
    """The second is acknowledged without being stored; after the window it is stored again."""
    clock = _Clock()
    storage = Duplicates(writer, seconds=60, is_repetition=_always, now=clock)
    assert await storage.append("traces", b"a", 1)
    clock.now += 59
    assert not await storage.append("traces", b"a", 1)
    assert await storage.append("traces", b"b", 1)
    clock.now += 2
    assert await storage.append("traces", b"a", 1)
    assert disk.bodies == [b"a", b"b", b"a"]


async def test_signals_are_kept_apart(disk: HeldLog, writer: LogWriter) -> None:
    """The same bytes as another signal are another request."""
    storage = Duplicates(writer, seconds=60, is_repetition=_always)
    assert await storage.append("traces", b"a", 1)
    assert await storage.append("logs", b"a", 1)
    assert len(disk.bodies) == 2


async def test_a_second_waits_for_the_first(disk: HeldLog, writer: LogWriter) -> None:
    """While the disk works neither is acknowledged; then both are, and one is stored."""
    storage = Duplicates(writer, seconds=60, is_repetition=_always)
    disk.go.clear()
    both = [asyncio.create_task(storage.append("traces", b"a", 1)) for _ in range(2)]
    await eventually_async(lambda: disk.waiting)
    assert not any(each.done() for each in both)
    disk.go.set()
    assert await asyncio.gather(*both) == [True, False]
    assert disk.bodies == [b"a"]


async def test_a_second_fails_with_the_first(disk: HeldLog, writer: LogWriter) -> None:
    """A disk that refuses is told to both; what comes later is stored, not taken for known."""
    storage = Duplicates(writer, seconds=60, is_repetition=_always)
    disk.go.clear()
    disk.error = OSError("No space left on device")
    both = [asyncio.create_task(storage.append("traces", b"a", 1)) for _ in range(2)]
    await eventually_async(lambda: disk.waiting)
    disk.go.set()
    for each in both:
        with pytest.raises(LogFailedError, match="No space"):
            await each
    disk.error = None
    assert await storage.append("traces", b"a", 1)
    assert disk.bodies == [b"a"]


async def test_a_first_that_gives_up_is_stored(disk: HeldLog, writer: LogWriter) -> None:
    """A client that runs out of patience and sends again is the case this is for."""
    storage = Duplicates(writer, seconds=60, is_repetition=_always)
    disk.go.clear()
    first = asyncio.create_task(storage.append("traces", b"a", 1))
    await eventually_async(lambda: disk.waiting)
    first.cancel()
    second = asyncio.create_task(storage.append("traces", b"a", 1))
    await eventually_async(first.cancelled)
    assert not second.done()
    disk.go.set()
    assert not await second
    assert disk.bodies == [b"a"]


async def test_what_may_be_two_is_stored_twice(disk: HeldLog, writer: LogWriter) -> None:
    """Equal bytes that need not be a repetition are kept, however often they come."""
    storage = Duplicates(writer, seconds=60, is_repetition=lambda *_: False)
    for _ in range(3):
        assert await storage.append("logs", b"a", 1)
    assert disk.bodies == [b"a"] * 3


async def test_off(disk: HeldLog, writer: LogWriter) -> None:
    """With 0 seconds everything is stored."""
    storage = Duplicates(writer, seconds=0, is_repetition=_always)
    assert await storage.append("traces", b"a", 1)
    assert await storage.append("traces", b"a", 1)
    assert len(disk.bodies) == 2


async def test_entries_are_bounded(
    disk: HeldLog, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest are forgotten early; what is forgotten is stored again, never lost."""
    monkeypatch.setattr(module, "MAX_REQUESTS", 3)
    storage = Duplicates(writer, seconds=60, is_repetition=_always)
    for body in (b"a", b"b", b"c", b"d"):
        assert await storage.append("traces", body, 1)
    assert len(storage._known) == 3
    assert not await storage.append("traces", b"d", 1)
    assert await storage.append("traces", b"a", 1)


async def test_a_start_knows_what_is_on_the_disk(writer: LogWriter, tmp_path: Path) -> None:
    """Requests that share a record, whole, are known; half of one and a new one are not."""
    one, two, three = (request_of(new_ids(3)) for _ in range(3))
    stored = DurableLog(tmp_path, segment_bytes=1 << 20)
    stored.append([Record("traces", encode(one + two + three, "gzip"), 9, time.time_ns())])
    clock = _Clock()
    storage = Duplicates(
        writer,
        seconds=60,
        is_repetition=_always,
        recovered=stored.newest(1 << 20),
        now=clock,
    )
    new = request_of(new_ids(1))
    assert not await storage.append("traces", two, 3)
    assert not await storage.append("traces", one + three, 6)
    assert await storage.append("traces", one + new, 4)
    assert await storage.append("logs", two, 3)
    clock.now += 61
    assert await storage.append("traces", two, 3)
    stored.close()


@given(st.lists(st.binary(max_size=300), max_size=5), st.binary(max_size=12))
def test_parts_are_the_whole(values: list[bytes], rest: bytes) -> None:
    """Each field of a request is a part; any bytes are the sum of their parts."""
    request = ExportTraceServiceRequest()
    for value in values:
        request.resource_spans.add().schema_url = value.hex()
    body = request.SerializeToString()
    assert len(list(module._parts(body))) == len(values)
    assert b"".join(module._parts(body + rest)) == body + rest


def test_the_newest_records_are_taken(tmp_path: Path) -> None:
    """Over segments, as many as have so many bytes, in order."""
    log = DurableLog(tmp_path, segment_bytes=100)
    for number in range(9):
        log.append([Record("traces", b"%d" % number * 30, 1, 1, "identity")])
    assert [record.payload[:1] for record in log.newest(100)] == [b"6", b"7", b"8"]
    assert len(list(log.newest(1 << 20))) == 9
    log.close()
    empty = DurableLog(tmp_path / "empty", segment_bytes=100)
    assert list(empty.newest(100)) == []
    empty.close()
