"""Group commit acknowledges after the disk, groups by itself, and refuses rather than grow."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from sidelight.collector.log import writer as writer_module
from sidelight.collector.log.errors import LogBusyError, LogFailedError
from sidelight.collector.log.record import ENCODINGS
from sidelight.collector.log.writer import (
    MAX_GROUP_BYTES,
    MAX_SENDERS_BYTES,
    MIN_SHARED_WRITES,
    LogWriter,
)
from support.held_log import HeldLog
from support.waiting import eventually_async


async def test_no_acknowledgement_before_the_disk() -> None:
    """append() returns only after the log has."""
    log = HeldLog()
    writer = LogWriter(log, max_pending_bytes=1000)
    task = asyncio.create_task(writer.append("traces", b"a", 1))
    await eventually_async(lambda: log.waiting)
    assert not task.done()
    log.go.set()
    await task
    assert [gzip.decompress(r.payload) for r in log.appends[0]] == [b"a"]
    await writer.close()


async def test_requests_that_wait_share_one_write() -> None:
    """What gathers while the disk works becomes one record for each signal."""
    log = HeldLog()
    writer = LogWriter(log, max_pending_bytes=1000)
    tasks = [asyncio.create_task(writer.append("traces", b"1", 1))]
    await eventually_async(lambda: log.waiting)
    tasks += [asyncio.create_task(writer.append("traces", b"%d" % n, n)) for n in (2, 3)]
    tasks += [asyncio.create_task(writer.append("metrics", b"m", 7))]
    await eventually_async(lambda: writer.pending_bytes == len(b"123m"))
    log.go.set()
    await asyncio.gather(*tasks)
    first, second = log.appends
    assert len(first) == 1
    assert [(r.signal, gzip.decompress(r.payload), r.items) for r in second] == [
        ("traces", b"23", 5),
        ("metrics", b"m", 7),
    ]
    await writer.close()


async def test_requests_that_have_arrived_share_the_first_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A turn of the thread costs as much as a small request; each of these is a turn of the loop
    behind the one before it.
    """
    # However slow the machine is.
    monkeypatch.setattr(writer_module, "MAX_GATHER_SECONDS", 60.0)
    log = HeldLog()
    log.go.set()
    writer = LogWriter(log, max_pending_bytes=1000)

    async def process_and_append(body: bytes) -> None:
        await asyncio.sleep(0)
        await writer.append("traces", body, 1)

    await asyncio.gather(writer.append("traces", b"1", 1), process_and_append(b"2"))
    assert [gzip.decompress(r.payload) for group in log.appends for r in group] == [b"12"]
    await writer.close()


async def test_no_group_waits_long_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While others are processed for long, what waits for the disk is written."""
    monkeypatch.setattr(writer_module, "MAX_GATHER_SECONDS", 0.0)
    log = HeldLog()
    log.go.set()
    writer = LogWriter(log, max_pending_bytes=1000)
    await asyncio.gather(*(writer.append("traces", body, 1) for body in (b"1", b"2")))
    assert len(log.appends) == 2
    await writer.close()


class TestBusySenders:
    """Who has an answer sends again, so a group waits a moment for the senders of the last."""

    @pytest.fixture
    async def writer(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LogWriter]:
        """One that has just written for two senders several times, and waits for good."""
        monkeypatch.setattr(writer_module, "MAX_GATHER_SECONDS", 60.0)
        monkeypatch.setattr(writer_module, "MAX_SENDERS_SECONDS", 3600.0)
        self.log = HeldLog()
        self.log.go.set()
        writer = LogWriter(self.log, max_pending_bytes=10 * MAX_SENDERS_BYTES)
        for _ in range(MIN_SHARED_WRITES):
            await asyncio.gather(*(writer.append("traces", body, 1) for body in (b"1", b"2")))
        self.log.appends.clear()
        yield writer
        await writer.close()

    async def test_are_waited_for(self, writer: LogWriter) -> None:
        """Both share one write, however much later the second comes."""
        first = asyncio.create_task(writer.append("traces", b"1", 1))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not self.log.appends
        await writer.append("traces", b"2", 1)
        await first
        assert self.log.bodies == [b"12"]

    async def test_are_not_waited_for_where_requests_are_large(self, writer: LogWriter) -> None:
        """They cost more than what waiting saves."""
        large = b"x" * (2 * MAX_SENDERS_BYTES)
        await asyncio.gather(*(writer.append("traces", body, 1) for body in (large, b"2")))
        await writer.append("traces", b"3", 1)
        assert self.log.bodies == [large + b"2", b"3"]

    async def test_are_not_waited_for_with_a_large_request(self, writer: LogWriter) -> None:
        """Whatever was small until now."""
        large = b"x" * (2 * MAX_SENDERS_BYTES + 1)
        await writer.append("traces", large, 1)
        assert self.log.bodies == [large]

    async def test_are_not_waited_for_long(
        self, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that sends nothing more does not hold up the others."""
        # Of the groups that follow this one.
        monkeypatch.setattr(writer_module, "MAX_SENDERS_SECONDS", 0.002)
        await asyncio.gather(*(writer.append("traces", body, 1) for body in (b"1", b"2")))
        await writer.append("traces", b"3", 1)
        # Nor are they waited for again at once, for however long.
        monkeypatch.setattr(writer_module, "MAX_SENDERS_SECONDS", 3600.0)
        await writer.append("traces", b"4", 1)
        assert self.log.bodies == [b"12", b"3", b"4"]

    async def test_a_refusing_disk_is_told_to_who_waited(self, writer: LogWriter) -> None:
        """And to the last that came."""
        first = asyncio.create_task(writer.append("traces", b"1", 1))
        await asyncio.sleep(0)
        self.log.error = OSError(28, "No space left on device")
        results = await asyncio.gather(
            first, writer.append("traces", b"2", 1), return_exceptions=True
        )
        assert [type(result) for result in results] == [LogFailedError] * 2
        self.log.error = None

    async def test_who_gives_up_waiting_is_stored(self, writer: LogWriter) -> None:
        """With the request that was waited for."""
        first = asyncio.create_task(writer.append("traces", b"1", 1))
        await asyncio.sleep(0)
        first.cancel()
        await writer.append("traces", b"2", 1)
        assert self.log.bodies == [b"12"]

    async def test_a_lone_sender_waits_for_nobody(self, writer: LogWriter) -> None:
        """It would have an answer only after that time."""
        lone = LogWriter(self.log, max_pending_bytes=1000)
        bodies = [b"%d" % number for number in range(2 * MIN_SHARED_WRITES)]
        for body in bodies:
            await lone.append("traces", body, 1)
        assert self.log.bodies == bodies
        await lone.close()

    async def test_a_drain_writes_what_waits(self, writer: LogWriter) -> None:
        """It waits for no sender."""
        waiting = asyncio.create_task(writer.append("traces", b"1", 1))
        await asyncio.sleep(0)
        await writer.close()
        await waiting
        assert self.log.bodies == [b"1"]


async def test_a_record_stays_below_what_backends_take() -> None:
    """Groups split before MAX_GROUP_BYTES; one larger request stands alone."""
    log = HeldLog()
    writer = LogWriter(log, max_pending_bytes=10 * MAX_GROUP_BYTES)
    sizes = (1, MAX_GROUP_BYTES - 10, 20, MAX_GROUP_BYTES + 1, 5)
    tasks = [asyncio.create_task(writer.append("traces", b"x" * n, 1)) for n in sizes]
    await eventually_async(lambda: writer.pending_bytes == sum(sizes))
    log.go.set()
    await asyncio.gather(*tasks)
    stored = [len(gzip.decompress(r.payload)) for group in log.appends for r in group]
    assert stored == [MAX_GROUP_BYTES - 9, 20, MAX_GROUP_BYTES + 1, 5]
    await writer.close()


async def test_a_refusing_disk_fails_every_sender_of_the_group() -> None:
    """Nobody is told that data is safe which is not, and the next group works again."""
    log = HeldLog()
    log.error = OSError(28, "No space left on device")
    log.go.set()
    writer = LogWriter(log, max_pending_bytes=1000)
    results = await asyncio.gather(
        *(writer.append("traces", b"x", 1) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [LogFailedError] * 3
    assert writer.pending_bytes == 0
    log.error = None
    await writer.append("traces", b"y", 1)
    assert len(log.appends) == 1
    await writer.close()


async def test_more_than_may_wait_is_refused_at_once() -> None:
    """Memory is bounded: the sender is told to come again."""
    log = HeldLog()
    writer = LogWriter(log, max_pending_bytes=10)
    first = asyncio.create_task(writer.append("traces", b"x" * 4, 1))
    await eventually_async(lambda: log.waiting)
    second = asyncio.create_task(writer.append("traces", b"x" * 6, 1))
    await eventually_async(lambda: writer.pending_bytes == 10)
    with pytest.raises(LogBusyError):
        await writer.append("traces", b"x", 1)
    log.go.set()
    await asyncio.gather(first, second)
    await writer.append("traces", b"x", 1)
    await writer.close()


async def test_records_are_stored_as_configured() -> None:
    """Without compression the bytes stand as they came; both ways give the body back."""
    log = HeldLog()
    log.go.set()
    for encoding in ENCODINGS:
        writer = LogWriter(log, max_pending_bytes=1000, encoding=encoding)
        await writer.append("traces", b"body", 1)
        await writer.close()
    plain, gzipped = (group[0] for group in log.appends)
    assert plain.payload == b"body"
    assert gzip.decompress(gzipped.payload) == b"body"
    assert plain.body() == gzipped.body() == b"body"
    assert gzipped.with_body(b"other", 2).body() == b"other"


async def test_a_lone_request_of_any_size_is_taken() -> None:
    """The limit is for what waits together; while one is under way it counts as well."""
    log = HeldLog()
    writer = LogWriter(log, max_pending_bytes=10)
    large = asyncio.create_task(writer.append("traces", b"x" * 100, 1))
    await eventually_async(lambda: log.waiting)
    with pytest.raises(LogBusyError):
        await writer.append("traces", b"x", 1)
    log.go.set()
    await large
    await writer.close()


async def test_a_sender_that_gives_up_harms_nobody() -> None:
    """A cancelled append may or may not be stored; the others of its group are acknowledged."""
    log = HeldLog()
    writer = LogWriter(log, max_pending_bytes=1000)
    tasks = [asyncio.create_task(writer.append("traces", b"%d" % n, 1)) for n in range(3)]
    await eventually_async(lambda: log.waiting)
    tasks[1].cancel()
    log.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]
    assert writer.pending_bytes == 0
    await writer.close()


async def test_a_probe_finds_that_the_disk_takes_data_again() -> None:
    """Trouble ends without a sender, who may be kept away as long as it lasts."""
    log = HeldLog()
    log.error = OSError(28, "No space left on device")
    log.go.set()
    writer = LogWriter(log, max_pending_bytes=1000)
    with pytest.raises(LogFailedError):
        await writer.append("traces", b"x", 1)
    await writer.probe()
    assert "No space" in str(writer.trouble)
    log.error = None
    await writer.probe()
    assert writer.trouble is None
    assert log.appends == []
    await writer.close()
