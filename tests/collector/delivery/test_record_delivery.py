"""One record is delivered, retried, halved or kept aside; its content reaches no log line."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import json
import logging
import threading
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.delivery.blame import max_failed_parts
from sidelight.collector.delivery.faults import MAX_FAULTS
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record
from support.backend import Reply, Request
from support.forwarding import Scripted, forwarding, names_of, traces
from support.sending import Sending
from support.span_store import SpanStore


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What Sidelight logs as errors; threads of earlier tests may log, too."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR and record.name.startswith("sidelight.")
    ]


async def test_a_retry_sends_the_same_bytes_until_they_are_taken(
    log: DurableLog, tmp_path: Path
) -> None:
    """The trouble is named while it lasts, and each attempt is counted."""
    sent: list[bytes] = []
    is_told = threading.Event()
    log.append([traces("a"), traces("b")])

    def answer(record: Record) -> Outcome:
        sent.append(record.payload)
        if len(sent) < 4:
            return Retry("its disk is full")
        assert is_told.wait(120)
        return Delivered()

    async with forwarding(log, Scripted(answer), tmp_path) as running:
        await running.until(lambda: running.forwarder.status.trouble == "its disk is full")
        is_told.set()
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
    log.append([traces(*names), traces("next")])
    destination = Scripted(
        lambda record: Rejected("bad id", 400) if names[bad] in names_of(record) else Delivered()
    )
    async with forwarding(log, destination, tmp_path) as running:
        await running.settled()
    assert destination.taken == [name for name in names if name != names[bad]] + ["next"]
    assert running.tally.counts == {
        ("scripted", "delivered"): 7,
        ("scripted", "dropped", "dead_lettered"): 1,
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
        if len(names_of(record)) > 1:
            return Rejected("too large", 413)
        return next(failures, Delivered())

    destination = Scripted(answer)
    log.append([traces("a", "b", "c", "d")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["a", "b", "c", "d"]
    assert ("scripted", "dropped", "dead_lettered") not in running.tally.counts


async def test_a_partial_success_is_counted(log: DurableLog, tmp_path: Path) -> None:
    """What the backend rejected is dropped, not delivered."""
    log.append([traces("a", "b", "c")])
    async with forwarding(log, Scripted(lambda _: Delivered(2, "bad")), tmp_path) as running:
        await running.settled()
    assert running.tally.counts == {
        ("scripted", "delivered"): 1,
        ("scripted", "dropped", "rejected"): 2,
    }


async def test_what_a_backend_says_of_a_batch_reaches_no_log_line(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may quote it: one line a record counts what was rejected, the dead letters say why."""
    names = [f"{'good' if number % 10 else 'bad'}-{number}" for number in range(50)]
    log.append([traces(*names)])
    said = b"bad value: my credit card is 411111 1111"
    reply = Reply(400, said, {"Content-Type": "text/plain"})

    def refuse(request: Request) -> Reply | None:
        return reply if b"bad-" in gzip.decompress(request.body) else None

    with SpanStore(refuse=refuse) as store:
        async with Sending(log, store.destination("store")) as sending:
            await sending.until(lambda: log.cursor("store").position == log.end)
            assert sending.forwarders[0].status.trouble is None
    assert sending.tally.counts["store", "dropped", "dead_lettered"] == 5
    letters = tmp_path / "log" / "dead-letters" / "store.jsonl"
    lines = letters.read_text().splitlines()
    assert len(lines) == 5
    assert all(said.decode() in json.loads(line)["reason"] for line in lines)
    assert _errors(caplog) == [
        f"store rejected 5 of 50 items for good (status 400); see dead letters {letters}"
    ]
    assert "411111" not in caplog.text


@pytest.mark.parametrize("status", [302, 401, 404, 429, 500])
async def test_what_a_backend_says_of_a_failure_reaches_no_log_line(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Kind, size and a hash stand there instead; the words are kept for those with a token."""
    log.append([traces("a")])
    said = b"cannot store: my credit card is 411111 1111"
    headers = {"Content-Type": "text/plain", "Location": "https://other.example/?q=411111+1111"}
    with SpanStore(refuse=lambda _: Reply(status, said, headers)) as store:
        async with Sending(log, store.destination("store")) as sending:
            await sending.settled()
            status_now = sending.forwarders[0].status
            assert f"answered {status}" in str(status_now.trouble)
            assert "411111" not in str(status_now.trouble)
            assert "411111" in status_now.said
            assert status_now.cause == f"http_{status}"
    assert "411111" not in caplog.text
    assert status == 302 or "(text/plain, 43 bytes, hash " in caplog.text


async def test_the_words_of_a_partial_success_reach_no_log_line(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The batch is kept with them, for a person to see which items they are about."""
    log.append([traces("a", "b", "c")])
    destination = Scripted(lambda _: Delivered(2, said="bad value: 411111 1111"))
    async with forwarding(log, destination, tmp_path) as running:
        await running.settled()
    path = running.dead_letters.path("scripted")
    assert f"scripted rejected 2 of 3 items: see dead letters {path}" in caplog.text
    assert "411111" not in caplog.text
    assert "411111 1111" in json.loads(path.read_text())["reason"]


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
    log.append([traces("a")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["a"]
    assert "ZeroDivisionError in test_record_delivery.py, answer(), line" in caplog.text
    assert "oops" not in caplog.text


async def test_an_item_that_cannot_be_sent_costs_itself_alone(
    log: DurableLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After the same exception so many times it is kept aside, counted, and said once."""

    def answer(record: Record) -> Outcome:
        if "bad" in names_of(record):
            raise ZeroDivisionError("the content")
        return Delivered()

    destination = Scripted(answer)
    names = [f"span-{number}" for number in range(20)]
    log.append([traces("a"), traces(*names[:12], "bad", *names[12:]), traces("b")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
        assert running.forwarder.status.trouble is None
    assert destination.taken == ["a", *names, "b"]
    # The whole, then two on each of five levels, less those of a half that was accepted.
    assert destination.asked <= MAX_FAULTS + 2 + 2 * 5
    assert running.tally.counts["scripted", "dropped", "failed"] == 1
    (line,) = running.dead_letters.path("scripted").read_text().splitlines()
    assert (json.loads(line)["items"], json.loads(line)["status"]) == (1, None)
    (error,) = _errors(caplog)
    assert "does not get 1 of 21 items" in error
    assert "the content" not in caplog.text


async def test_a_fault_that_every_item_meets_is_not_looked_for_in_each(
    log: DurableLog, tmp_path: Path
) -> None:
    """One way down shows it; what is left is kept aside in few pieces, and nothing waits."""

    def answer(record: Record) -> Outcome:
        if "b" in names_of(record):
            return Delivered()
        raise ZeroDivisionError

    destination = Scripted(answer)
    log.append([traces(*(f"span-{number}" for number in range(2000))), traces("b")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["b"]
    assert destination.asked <= MAX_FAULTS + 2 * max_failed_parts(2000) + 1
    assert running.tally.counts["scripted", "dropped", "failed"] == 2000


async def test_what_the_machine_lacks_is_waited_for(log: DurableLog, tmp_path: Path) -> None:
    """However often files or memory run out, no record is given up for it."""
    lacks = iter([OSError(errno.EMFILE, "Too many open files"), MemoryError()] * MAX_FAULTS)

    def answer(record: Record) -> Outcome:
        error = next(lacks, None)
        if error is not None:
            raise error
        return Delivered()

    log.append([traces("a")])
    async with forwarding(log, Scripted(answer), tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert running.tally.counts["scripted", "delivered"] == 1


async def test_what_cannot_be_halved_is_kept_whole(log: DurableLog, tmp_path: Path) -> None:
    """A record that is no OTLP after all does not hold up those behind it."""
    broken = Record("traces", gzip.compress(b"\x0a\xff"), 5, 1)
    log.append([broken, traces("next")])
    destination = Scripted(
        lambda record: Rejected("what is this", 400) if record.items == 5 else Delivered()
    )
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["next"]
    assert running.tally.counts["scripted", "dropped", "dead_lettered"] == 5
    (line,) = running.dead_letters.path("scripted").read_text().splitlines()
    assert gzip.decompress(base64.b64decode(json.loads(line)["request_gzip_base64"])) == b"\x0a\xff"


async def test_the_pace_is_kept(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks to wait for between batches is their spans divided by the rate."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    log.append([traces(*"abcdefghij") for _ in range(4)])
    destination = Scripted(pace_items_per_second=0.001)
    async with forwarding(log, destination, tmp_path) as running:
        monkeypatch.setattr(asyncio, "sleep", note)
        async with asyncio.timeout(120):
            await running.forwarder.status.settled()
        monkeypatch.undo()
    assert [round(each, -2) for each in waits] == [10_000, 20_000, 30_000]
