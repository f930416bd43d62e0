"""What is read from the log, and the cursor that moves behind it, whatever the disk does."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from sidelight.base.executor import DaemonExecutor
from sidelight.collector.delivery.faults import MAX_FAULTS
from sidelight.collector.delivery.feed import LogFeed
from sidelight.collector.delivery.log_reader import COMMIT_SECONDS, LogReader
from sidelight.collector.delivery.match import rules
from sidelight.collector.delivery.select import Selector
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.destinations.common.outcome import Delivered, Retry
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from support.forwarding import Scripted, forwarding, names_of, traces
from support.sending import Sending, opened
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("sample", "delivered"), [(None, 2), ({"share": 0.0, "quiet_seconds": 0.2}, 0)]
)
async def test_a_record_that_cannot_be_read_holds_up_nobody(
    log: DurableLog, tmp_path: Path, sample: object, delivered: int
) -> None:
    """Stored whole but broken inside, it alone is kept aside; those around it are delivered."""
    bad = [Record("traces", b"no gzip", 3, 1)] * MAX_FAULTS
    log.append([traces("a"), traces("dropped"), *bad, traces("b")])
    drop = [{"names": "dropped"}]
    with SpanStore() as store:
        options: dict[str, object] = {"max_backoff_seconds": 0.01, "drop": drop}
        if sample:
            options["sample"] = sample
        async with Sending(log, store.destination("store", **options)) as sending:
            await sending.until(lambda: log.cursor("store").position == log.end)
        assert sending.forwarders[0].status.trouble is None
    assert sending.tally.counts["store", "dropped", "failed"] == 3 * MAX_FAULTS
    lines = (tmp_path / "log" / "dead-letters" / "store.jsonl").read_text().splitlines()
    kept = [base64.b64decode(json.loads(line)["request_gzip_base64"]) for line in lines]
    assert kept == [b"no gzip"] * MAX_FAULTS
    assert sum(store.ids.values()) == delivered


async def test_settled_waits_for_what_comes_while_the_cursor_is_written(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the log it is written before the end counts; more may come in that time."""
    is_writing, may_write = threading.Event(), threading.Event()
    commit = Cursor.commit

    def wait_and_commit(self: Cursor, position: Position) -> None:
        is_writing.set()
        assert may_write.wait(120)
        commit(self, position)

    monkeypatch.setattr(Cursor, "commit", wait_and_commit)
    log.append([traces("a")])
    destination = Scripted()
    async with forwarding(log, destination, tmp_path) as running:
        assert await asyncio.to_thread(is_writing.wait, 120)
        log.append([traces("b")])
        running.forwarder.wake()
        may_write.set()
        await running.settled()
        assert destination.taken == ["a", "b"]
        assert log.cursor("scripted").position == log.end


async def test_the_last_commit_does_not_hold_the_event_loop(log: DurableLog) -> None:
    """It may find the commit before it written and the loop about to hear of it."""
    log.append([traces("a")])
    cursor = log.cursor("scripted")
    disk = DaemonExecutor("disk")
    reader = LogReader(
        cursor,
        LogFeed(cursor, {"traces"}),
        signals=frozenset({"traces"}),
        disk=disk,
        status=DeliveryStatus(),
        max_backoff_seconds=0.01,
        give_up=_keep_nothing,
        committed=lambda: None,
    )
    reader.done(log.end)
    await reader.next(log.end)
    # On the same thread, so the result of the commit is on its way to the loop.
    is_written = threading.Event()
    disk.submit(is_written.set)
    assert is_written.wait(PATIENCE_SECONDS)
    await asyncio.sleep(0)
    assert not reader.is_committed
    await reader.commit()
    assert cursor.position == log.end
    reader.close()


async def _keep_nothing(record: Record, reason: str) -> None:
    raise AssertionError(f"{record} is given up: {reason}")


async def test_a_destination_that_keeps_up_needs_no_disk(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended is sent from memory, large or small."""
    destination = Scripted()
    reads: list[Position] = []
    read = Cursor.read

    def note_and_read(self: Cursor, position: Position) -> Entry | None:
        reads.append(position)
        return read(self, position)

    monkeypatch.setattr(Cursor, "read", note_and_read)
    large = os.urandom(100_000).hex()
    async with forwarding(log, destination, tmp_path) as running:
        for name in ("a", large, "b"):
            log.append([traces(name)])
            running.forwarder.wake()
            await running.settled()
    assert destination.taken == ["a", large, "b"]
    assert reads == []


def test_a_large_record_is_decoded_on_the_thread(log: DurableLog) -> None:
    """With rules for spans it is; without, or if it is of another signal, nothing decodes it."""
    log.append([traces(os.urandom(100_000).hex())])
    cursor = log.cursor("scripted")
    with_rules = Selector(drop=rules([Match(names=("health*",))]))
    taken = LogFeed(cursor, {"traces"}).recent(cursor.position)
    passed = LogFeed(cursor, {"logs"}, with_rules).recent(cursor.position)
    assert taken is not None
    assert taken.record is not None
    assert passed is not None
    assert passed.record is None
    assert LogFeed(cursor, {"traces"}, with_rules).recent(cursor.position) is None


async def test_the_cursor_is_written_now_and_then(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for each batch while batches come; but the destination has caught up only after it."""
    commits: list[Position] = []
    commit = Cursor.commit

    def note_and_commit(self: Cursor, position: Position) -> None:
        commits.append(position)
        commit(self, position)

    monkeypatch.setattr(Cursor, "commit", note_and_commit)
    destination = Scripted()
    async with forwarding(log, destination, tmp_path) as running:
        began = time.monotonic()
        for number in range(100):
            log.append([traces(str(number))])
            running.forwarder.wake()
            await running.until(lambda: len(destination.taken) > number)  # noqa: B023
        await running.settled()
        seconds = time.monotonic() - began
        assert log.cursor("scripted").position == log.end
    assert len(commits) <= seconds / COMMIT_SECONDS + 2


def _read_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in memory, not even where the log ends."""
    monkeypatch.setattr(Cursor, "recent", lambda *_: None)
    monkeypatch.setattr(Cursor, "is_end", lambda *_: False)


async def test_settled_waits_for_what_comes_while_the_end_is_looked_for(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end that was found before the last append is not the end."""
    _read_from_disk(monkeypatch)
    has_looked, may_answer = threading.Event(), threading.Event()
    read = Cursor.read

    def look(self: Cursor, position: Position) -> Entry | None:
        found = read(self, position)
        if not has_looked.is_set():
            has_looked.set()
            assert may_answer.wait(120)
        return found

    monkeypatch.setattr(Cursor, "read", look)
    destination = Scripted()
    async with forwarding(log, destination, tmp_path) as running:
        assert await asyncio.to_thread(has_looked.wait, 120)
        log.append([traces("a")])
        running.forwarder.wake()
        may_answer.set()
        await running.settled()
        assert destination.taken == ["a"]


async def test_a_damaged_record_is_skipped_and_counted(tmp_path: Path) -> None:
    """Only that one, once."""
    with opened(tmp_path / "log") as log:
        log.append([traces("a")])
        start = log.end.offset
        log.append([traces("damaged")])
        end = log.end.offset
        log.append([traces("b")])
    (segment,) = (tmp_path / "log").glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[(start + end) // 2] ^= 1
    segment.write_bytes(data)
    destination = Scripted()
    with opened(tmp_path / "log") as log:
        async with forwarding(log, destination, tmp_path) as running:
            await running.settled()
    assert destination.taken == ["a", "b"]
    assert running.tally.counts["scripted", "dropped", "damaged"] == 1


async def test_a_log_that_cannot_be_read_is_waited_for(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trouble is named, and all comes once the disk gives it."""
    _read_from_disk(monkeypatch)
    log.append([traces("a")])
    destination = Scripted()
    is_broken = threading.Event()
    is_broken.set()
    read = Cursor.read

    def read_or_fail(self: Cursor, position: Position) -> Entry | None:
        if is_broken.is_set():
            raise OSError(errno.EIO, "Input/output error")
        return read(self, position)

    monkeypatch.setattr(Cursor, "read", read_or_fail)
    async with forwarding(log, destination, tmp_path) as running:
        await running.settled()
        assert "Input/output error" in str(running.forwarder.status.trouble)
        is_broken.clear()
        await running.until(lambda: log.cursor("scripted").position == log.end)
        assert running.forwarder.status.trouble is None
    assert destination.taken == ["a"]


async def test_a_cursor_that_cannot_be_written_does_not_stop_it(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk each record is still sent once, and said once."""
    log.append([traces("a"), traces("b"), traces("c")])
    destination = Scripted()

    def full(self: Path, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    async with forwarding(log, destination, tmp_path) as running:
        await running.settled()
    assert destination.taken == ["a", "b", "c"]
    assert log.cursor("scripted").position == log.end


async def test_closing_writes_the_cursor_of_what_has_arrived(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it waited for a slow disk: what arrived is not sent again after a restart."""
    is_writing, may_write = threading.Event(), threading.Event()
    commit = Cursor.commit

    def wait_and_commit(self: Cursor, position: Position) -> None:
        is_writing.set()
        assert may_write.wait(120)
        commit(self, position)

    monkeypatch.setattr(Cursor, "commit", wait_and_commit)
    destination = Scripted(lambda r: Retry("no") if names_of(r) == ["c"] else Delivered())
    log.append([traces("a"), traces("b"), traces("c")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: destination.asked > 2)
        await running.until(is_writing.is_set)
        may_write.set()
    cursor = log.cursor("scripted")
    rest = cursor.read(cursor.position)
    assert rest is not None
    assert names_of(rest.record) == ["c"]
