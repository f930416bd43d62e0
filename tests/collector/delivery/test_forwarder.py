"""A forwarder brings its destination everything in the log, in order, at least once."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.faults import MAX_FAULTS
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Refused, Retry
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import SIGNALS, Signal
from support import otlp_requests
from support.backend import Reply
from support.sending import Sending, Tally, opened
from support.span_store import SpanStore
from support.waiting import eventually_async


def _names(record: Record) -> list[str]:
    request = ExportTraceServiceRequest.FromString(record.body())
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _traces(*names: str) -> Record:
    return otlp_requests.traces([otlp_requests.span(name) for name in names])


@dataclass
class Scripted:
    """A destination that answers as `answer` says and remembers what it took."""

    answer: Callable[[Record], Outcome] = lambda _: Delivered()
    name: str = "scripted"
    signals: frozenset[Signal] = frozenset(SIGNALS)
    pace_items_per_second: float | None = None
    taken: list[str] = field(default_factory=list)
    asked: int = 0

    async def send(self, record: Record) -> Outcome:
        self.asked += 1
        outcome = await asyncio.to_thread(self.answer, record)
        if isinstance(outcome, Delivered):
            self.taken += _names(record) if record.signal == "traces" else [record.signal]
        return outcome

    def close(self) -> None:
        """Nothing is open."""


class Running:
    """A forwarder at work."""

    def __init__(self, log: DurableLog, destination: Scripted, directory: Path) -> None:
        self.tally = Tally()
        self.dead_letters = DeadLetters(directory / "dead-letters")
        self.forwarder = Forwarder(
            destination,
            log.cursor(destination.name),
            dead_letters=self.dead_letters,
            observer=self.tally,
            max_backoff_seconds=0.02,
        )

    async def settled(self) -> None:
        async with asyncio.timeout(120):
            await self.forwarder.status.settled()

    async def until(self, condition: Callable[[], object]) -> None:
        await eventually_async(condition)


@asynccontextmanager
async def _running(log: DurableLog, destination: Scripted, path: Path) -> AsyncIterator[Running]:
    """Leaving it is a crash as far as the forwarder knows."""
    running = Running(log, destination, path)
    task = asyncio.create_task(running.forwarder.run())
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        running.forwarder.close()
        await running.forwarder.closed()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DurableLog]:
    """A log on disk."""
    with opened(tmp_path / "log") as log:
        yield log


async def test_everything_in_order_and_once(log: DurableLog, tmp_path: Path) -> None:
    """What was there before it started, and what comes while it runs."""
    destination = Scripted()
    log.append([_traces("a"), _traces("b", "c")])
    async with _running(log, destination, tmp_path) as running:
        await running.settled()
        assert destination.taken == ["a", "b", "c"]
        log.append([_traces("d")])
        running.forwarder.wake()
        await running.settled()
    assert destination.taken == ["a", "b", "c", "d"]
    assert running.tally.counts == {("scripted", "delivered"): 4}
    assert log.cursor("scripted").position == log.end
    assert running.forwarder.lag_seconds == 0


async def test_a_restart_goes_on_at_the_cursor(tmp_path: Path) -> None:
    """What was taken is not sent again; what was not, is."""
    first = Scripted(lambda record: Retry("no") if _names(record) == ["c"] else Delivered())
    with opened(tmp_path / "log") as log:
        log.append([_traces("a"), _traces("b"), _traces("c"), _traces("d")])
        async with _running(log, first, tmp_path) as running:
            await running.settled()
            assert running.forwarder.lag_seconds > 0
    assert first.taken == ["a", "b"]
    second = Scripted()
    with opened(tmp_path / "log") as log:
        async with _running(log, second, tmp_path) as running:
            await running.settled()
    assert second.taken == ["c", "d"]


async def test_a_retry_sends_the_same_bytes_until_they_are_taken(
    log: DurableLog, tmp_path: Path
) -> None:
    """The trouble is named while it lasts, and each attempt is counted."""
    sent: list[bytes] = []
    log.append([_traces("a"), _traces("b")])

    def answer(record: Record) -> Outcome:
        sent.append(record.payload)
        return Retry("its disk is full") if len(sent) < 4 else Delivered()

    async with _running(log, Scripted(answer), tmp_path) as running:
        await running.until(lambda: running.forwarder.status.trouble == "its disk is full")
        await running.until(lambda: log.cursor("scripted").position == log.end)
        assert running.forwarder.status.trouble is None
    assert sent[0] == sent[1] == sent[2] == sent[3]
    assert running.tally.counts["scripted", "retried"] == 3
    assert running.tally.counts["scripted", "delivered"] == 2


@pytest.mark.parametrize("bad", [0, 3, 6])
async def test_a_refused_batch_is_halved_down_to_the_bad_span(
    log: DurableLog, tmp_path: Path, bad: int
) -> None:
    """Its neighbours are delivered in order; it is kept with the reason, to be read back."""
    names = [f"span-{number}" for number in range(7)]
    log.append([_traces(*names), _traces("next")])
    destination = Scripted(
        lambda record: Refused("bad id", 400) if names[bad] in _names(record) else Delivered()
    )
    async with _running(log, destination, tmp_path) as running:
        await running.settled()
    assert destination.taken == [name for name in names if name != names[bad]] + ["next"]
    assert running.tally.counts == {
        ("scripted", "delivered"): 7,
        ("scripted", "dropped", "refused"): 1,
    }
    (line,) = running.dead_letters.path("scripted").read_text().splitlines()
    letter = json.loads(line)
    assert (letter["status"], letter["reason"], letter["items"]) == (400, "bad id", 1)
    kept = gzip.decompress(base64.b64decode(letter["request_gzip_base64"]))
    request = ExportTraceServiceRequest.FromString(kept)
    assert request.resource_spans[0].scope_spans[0].spans[0].name == names[bad]
    assert destination.asked < 2 * len(names)


async def test_a_retry_in_the_middle_of_halving(log: DurableLog, tmp_path: Path) -> None:
    """Trouble that comes while a batch is halved is waited out like any other."""
    failures = iter([Retry("busy"), Retry("busy")])

    def answer(record: Record) -> Outcome:
        if len(_names(record)) > 1:
            return Refused("too large", 413)
        return next(failures, Delivered())

    destination = Scripted(answer)
    log.append([_traces("a", "b", "c", "d")])
    async with _running(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["a", "b", "c", "d"]
    assert ("scripted", "dropped", "refused") not in running.tally.counts


async def test_a_partial_success_is_counted(log: DurableLog, tmp_path: Path) -> None:
    """What the backend rejected is dropped, not delivered."""
    log.append([_traces("a", "b", "c")])
    async with _running(log, Scripted(lambda _: Delivered(2, "bad")), tmp_path) as running:
        await running.settled()
    assert running.tally.counts == {
        ("scripted", "delivered"): 1,
        ("scripted", "dropped", "rejected"): 2,
    }


async def test_what_a_backend_says_of_a_batch_reaches_no_log_line(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may quote it: one line a record counts what was refused, the dead letters say why."""
    log.append([_traces(*(f"span-{number}" for number in range(50)))])
    said = b"bad value: my credit card is 4111 1111"
    reply = Reply(400, said, {"Content-Type": "text/plain"})
    with SpanStore(refuse=lambda _: reply) as store:
        async with Sending(log, store.destination("store")) as sending:
            await sending.settled()
            assert sending.forwarders[0].status.trouble is None
    assert sending.tally.counts["store", "dropped", "refused"] == 50
    letters = tmp_path / "log" / "dead-letters" / "store.jsonl"
    lines = letters.read_text().splitlines()
    assert len(lines) == 50
    assert all(said.decode() in json.loads(line)["reason"] for line in lines)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        f"store refused 50 of 50 items for good (status 400); see dead letters {letters}"
    ]
    assert "4111" not in caplog.text


async def test_the_words_of_a_partial_success_reach_no_log_line(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The batch is kept with them, for a person to see which items they are about."""
    log.append([_traces("a", "b", "c")])
    destination = Scripted(lambda _: Delivered(2, said="bad value: 4111 1111"))
    async with _running(log, destination, tmp_path) as running:
        await running.settled()
    path = running.dead_letters.path("scripted")
    assert f"scripted rejected 2 of 3 items: see dead letters {path}" in caplog.text
    assert "4111" not in caplog.text
    assert "4111 1111" in json.loads(path.read_text())["reason"]


async def test_other_signals_are_passed_over(log: DurableLog, tmp_path: Path) -> None:
    """The cursor goes past what the destination does not take."""
    log.append([otlp_requests.metrics(), _traces("a"), otlp_requests.logs()])
    destination = Scripted(signals=frozenset({"traces"}))
    async with _running(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["a"]


async def test_a_fault_in_the_destination_is_retried(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception nobody foresaw loses nothing; its place is logged, not its message."""
    attempts = iter([ZeroDivisionError("oops")])

    def answer(record: Record) -> Outcome:
        error = next(attempts, None)
        if error is not None:
            raise error
        return Delivered()

    destination = Scripted(answer)
    log.append([_traces("a")])
    async with _running(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["a"]
    assert "ZeroDivisionError in test_forwarder.py, line" in caplog.text
    assert "oops" not in caplog.text


async def test_a_record_that_cannot_be_sent_holds_up_nobody(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After the same exception so many times it is kept whole, counted, and said once."""

    def answer(record: Record) -> Outcome:
        if "bad" in _names(record):
            raise ZeroDivisionError("the content")
        return Delivered()

    destination = Scripted(answer)
    log.append([_traces("a"), _traces("bad", "worse"), _traces("b")])
    async with _running(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
        assert running.forwarder.status.trouble is None
    assert destination.taken == ["a", "b"]
    assert destination.asked == MAX_FAULTS + 2
    assert running.tally.counts["scripted", "dropped", "failed"] == 2
    (line,) = running.dead_letters.path("scripted").read_text().splitlines()
    assert (json.loads(line)["items"], json.loads(line)["status"]) == (2, None)
    assert [each.levelname for each in caplog.records].count("ERROR") == 1
    assert "the content" not in caplog.text


async def test_what_the_machine_lacks_is_waited_for(log: DurableLog, tmp_path: Path) -> None:
    """However often files or memory run out, no record is given up for it."""
    lacks = iter([OSError(errno.EMFILE, "Too many open files"), MemoryError()] * MAX_FAULTS)

    def answer(record: Record) -> Outcome:
        error = next(lacks, None)
        if error is not None:
            raise error
        return Delivered()

    log.append([_traces("a")])
    async with _running(log, Scripted(answer), tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert running.tally.counts["scripted", "delivered"] == 1


@pytest.mark.parametrize(
    ("sample", "delivered"), [(None, 2), ({"share": 0.0, "quiet_seconds": 0.2}, 0)]
)
async def test_a_record_that_cannot_be_read_holds_up_nobody(
    log: DurableLog, tmp_path: Path, sample: object, delivered: int
) -> None:
    """Stored whole but broken inside, it alone is kept aside; those around it are delivered."""
    bad = [Record("traces", b"no gzip", 3, 1)] * MAX_FAULTS
    log.append([_traces("a"), _traces("dropped"), *bad, _traces("b")])
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
    log.append([_traces("a")])
    destination = Scripted()
    async with _running(log, destination, tmp_path) as running:
        assert await asyncio.to_thread(is_writing.wait, 30)
        log.append([_traces("b")])
        running.forwarder.wake()
        may_write.set()
        await running.settled()
        assert destination.taken == ["a", "b"]
        assert log.cursor("scripted").position == log.end


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
    async with _running(log, destination, tmp_path) as running:
        assert await asyncio.to_thread(has_looked.wait, 30)
        log.append([_traces("a")])
        running.forwarder.wake()
        may_answer.set()
        await running.settled()
        assert destination.taken == ["a"]


async def test_what_cannot_be_halved_is_kept_whole(log: DurableLog, tmp_path: Path) -> None:
    """A record that is no OTLP after all does not hold up those behind it."""
    broken = Record("traces", gzip.compress(b"\x0a\xff"), 5, 1)
    log.append([broken, _traces("next")])
    destination = Scripted(
        lambda record: Refused("what is this", 400) if record.items == 5 else Delivered()
    )
    async with _running(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["next"]
    assert running.tally.counts["scripted", "dropped", "refused"] == 5
    (line,) = running.dead_letters.path("scripted").read_text().splitlines()
    assert gzip.decompress(base64.b64decode(json.loads(line)["request_gzip_base64"])) == b"\x0a\xff"


async def test_a_damaged_record_is_skipped_and_counted(tmp_path: Path) -> None:
    """Only that one, once."""
    with opened(tmp_path / "log") as log:
        log.append([_traces("a")])
        start = log.end.offset
        log.append([_traces("damaged")])
        end = log.end.offset
        log.append([_traces("b")])
    (segment,) = (tmp_path / "log").glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[(start + end) // 2] ^= 1
    segment.write_bytes(data)
    destination = Scripted()
    with opened(tmp_path / "log") as log:
        async with _running(log, destination, tmp_path) as running:
            await running.settled()
    assert destination.taken == ["a", "b"]
    assert running.tally.counts["scripted", "dropped", "damaged"] == 1


async def test_a_log_that_cannot_be_read_is_waited_for(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trouble is named, and all comes once the disk gives it."""
    _read_from_disk(monkeypatch)
    log.append([_traces("a")])
    destination = Scripted()
    is_broken = threading.Event()
    is_broken.set()
    read = Cursor.read

    def read_or_fail(self: Cursor, position: Position) -> Entry | None:
        if is_broken.is_set():
            raise OSError(errno.EIO, "Input/output error")
        return read(self, position)

    monkeypatch.setattr(Cursor, "read", read_or_fail)
    async with _running(log, destination, tmp_path) as running:
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
    log.append([_traces("a"), _traces("b"), _traces("c")])
    destination = Scripted()

    def full(self: Path, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    async with _running(log, destination, tmp_path) as running:
        await running.settled()
    assert destination.taken == ["a", "b", "c"]
    assert log.cursor("scripted").position == log.end


async def test_settled_waits_for_a_backend_that_has_recovered(
    log: DurableLog, tmp_path: Path
) -> None:
    """In trouble it is not worth waiting for; after it, it is, until all is sent."""
    is_down = threading.Event()
    is_down.set()
    is_asked, may_go_on = threading.Event(), threading.Event()

    def answer(record: Record) -> Outcome:
        if is_down.is_set():
            return Retry("down")
        if _names(record) == ["b"]:
            is_asked.set()
            assert may_go_on.wait(120)
        return Delivered()

    destination = Scripted(answer)
    log.append([_traces("a"), _traces("b")])
    async with _running(log, destination, tmp_path) as running:
        await running.settled()
        assert destination.taken == []
        is_down.clear()
        await running.until(lambda: destination.taken == ["a"])
        waiting = asyncio.create_task(running.forwarder.status.settled())
        await eventually_async(is_asked.is_set)
        assert not waiting.done()
        may_go_on.set()
        async with asyncio.timeout(120):
            await waiting
    assert destination.taken == ["a", "b"]


async def test_the_pace_is_kept(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks to wait for between batches is their spans divided by the rate."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    log.append([_traces(*"abcdefghij") for _ in range(4)])
    destination = Scripted(pace_items_per_second=0.001)
    async with _running(log, destination, tmp_path) as running:
        monkeypatch.setattr(asyncio, "sleep", note)
        async with asyncio.timeout(120):
            await running.forwarder.status.settled()
        monkeypatch.undo()
    assert [round(each, -2) for each in waits] == [10_000, 20_000, 30_000]


async def test_a_destination_that_hangs_delays_nobody_else(log: DurableLog, tmp_path: Path) -> None:
    """Over real sockets: one hangs, one answers 500, the third gets everything."""
    with (
        SpanStore() as good,
        SpanStore(refuse=lambda _: Reply(fault="hang")) as hanging,
        SpanStore(refuse=lambda _: Reply(500)) as failing,
    ):
        async with Sending(
            log,
            good.destination("good"),
            hanging.destination("hanging"),
            failing.destination("failing"),
        ) as sending:
            for _ in range(20):
                sending.append(_traces("a", "b"))
            await sending.settled("good")
            assert sum(good.ids.values()) == 40
            assert not hanging.ids
            assert not failing.ids
            assert sending.tally.counts["failing", "retried"] > 0
            failing.refuse = lambda _: None
            await sending.until(lambda: sum(failing.ids.values()) == 40)


class TestDeadLetters:
    def test_the_file_is_bounded(self, tmp_path: Path) -> None:
        """One older file is kept, and neither grows beyond its bound."""
        letters = DeadLetters(tmp_path, max_bytes=3000)
        for number in range(50):
            letters.add("phoenix", _traces(f"span-{number}"), status=400, reason="bad")
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["phoenix.jsonl", "phoenix.old.jsonl"]
        assert all(file.stat().st_size <= 3000 for file in files)
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)

    def test_a_full_disk_leaves_no_half_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What could not be written is logged, and the next line stands alone."""
        letters = DeadLetters(tmp_path)
        letters.add("phoenix", _traces("first"), status=400, reason="bad")
        write = os.write
        calls = iter([True])

        def half_then_full(fd: int, data: bytes) -> int:
            if next(calls, False):
                return write(fd, data[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half_then_full)
            letters.add("phoenix", _traces("lost"), status=400, reason="bad")
        assert "No space left on device" in caplog.text
        letters.add("phoenix", _traces("second"), status=400, reason="bad")
        lines = letters.path("phoenix").read_text().splitlines()
        assert [json.loads(line)["items"] for line in lines] == [1, 1]


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
    destination = Scripted(lambda r: Retry("no") if _names(r) == ["c"] else Delivered())
    log.append([_traces("a"), _traces("b"), _traces("c")])
    async with _running(log, destination, tmp_path) as running:
        await running.until(lambda: destination.asked > 2)
        assert is_writing.is_set()
        may_write.set()
    cursor = log.cursor("scripted")
    rest = cursor.read(cursor.position)
    assert rest is not None
    assert _names(rest.record) == ["c"]
