"""Small records that wait behind each other are sent as one, and nothing else changes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from sidelight.collector.delivery.feed import MAX_JOINED, MAX_JOINED_BYTES, LogFeed, Step
from sidelight.collector.delivery.match import rules
from sidelight.collector.delivery.select import Selector
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import ENCODINGS, Encoding, Record, encode
from sidelight.otlp.signals import SIGNALS
from support import otlp_requests
from support.backend import Backend
from support.forwarding import names_of, traces
from support.sending import Sending, opened
from support.waiting import PATIENCE_SECONDS


def _steps(log: DurableLog, **options: object) -> list[Step]:
    """All of the log, as a destination of all signals gets it."""
    cursor = log.cursor("x")
    feed = LogFeed(cursor, SIGNALS, joins=True, **options)  # type: ignore[arg-type]
    steps = []
    position = cursor.position
    while (step := feed.recent(position) or feed.read(position)) is not None:
        steps.append(step)
        position = step.end
    assert position == log.end
    return steps


def _names(steps: list[Step]) -> list[list[str]]:
    return [names_of(step.record) if step.record else [] for step in steps]


def _stored(log: DurableLog, *records: Record) -> None:
    for record in records:
        log.append([record])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_waits_is_one_step(log: DurableLog, encoding: Encoding) -> None:
    """In order, with all items, in the encoding it is stored in; its age is that of the oldest."""
    plain = [traces("a"), traces("b", "c"), traces("d")]
    records = [
        Record("traces", encode(record.body(), encoding), record.items, number, encoding)
        for number, record in enumerate(plain, 1)
    ]
    _stored(log, *records)
    (step,) = _steps(log)
    assert step.record is not None
    assert names_of(step.record) == ["a", "b", "c", "d"]
    assert (step.record.items, step.record.encoding, step.time_ns) == (4, encoding, 1)
    assert [record.body_bytes for record in records] == [len(record.body()) for record in plain]


def test_signals_are_kept_apart(log: DurableLog) -> None:
    """A request of OTLP has one; what the destination does not take is passed over."""
    _stored(log, traces("a"), otlp_requests.logs(), traces("b"), traces("c"))
    signals = [step.record.signal for step in _steps(log) if step.record]
    assert signals == ["traces", "logs", "traces"]
    step = LogFeed(log.cursor("x"), {"traces"}, joins=True).recent(log.cursor("x").position)
    assert step is not None
    assert step.record is not None
    assert names_of(step.record) == ["a", "b", "c"]


def test_no_more_than_is_decoded_in_a_moment(log: DurableLog) -> None:
    """By the size of what is decoded, not of what is stored: texts may be all the same."""
    half = "x" * (MAX_JOINED_BYTES // 2)
    _stored(log, traces("a"), traces(half), traces(half), traces("b"))
    assert _names(_steps(log)) == [["a", half], [half, "b"]]
    large = os.urandom(MAX_JOINED_BYTES // 2).hex()
    _stored(log, traces(large), traces("c"))
    assert _names(_steps(log))[-2:] == [[large], ["c"]]


def test_no_more_than_so_many(log: DurableLog) -> None:
    """A crash sends all of them again."""
    _stored(log, *(traces(str(number)) for number in range(MAX_JOINED + 1)))
    assert [len(names) for names in _names(_steps(log))] == [MAX_JOINED, 1]


def test_rules_hold_in_each(log: DurableLog) -> None:
    """What is withheld is counted once, and a record of which nothing is left joins nothing."""
    withheld: Counter[str] = Counter()
    selector = Selector(drop=rules([Match(names=("health",))]))
    _stored(log, traces("a", "health"), traces("health"), traces("b"))
    steps = _steps(
        log, selector=selector, withheld=lambda why, items: withheld.update({why: items})
    )
    assert _names(steps) == [["a", "b"]]
    assert withheld == {"filter": 2}


def test_what_cannot_be_decoded_is_alone(log: DurableLog) -> None:
    """Neither joined nor lost: it is read when it is the first."""
    bad = Record("traces", b"no gzip", 3, 1)
    _stored(log, traces("a"), bad, traces("b"))
    assert [step.record for step in _steps(log)][1] == bad


def test_behind_damage_nothing_is_joined(tmp_path: Path) -> None:
    """What was skipped is told with the record behind it."""
    with opened(tmp_path / "log") as log:
        _stored(log, traces("a"), traces("damaged"))
        damaged_end = log.end.offset
        _stored(log, traces("b"))
    (segment,) = (tmp_path / "log").glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[damaged_end - 1] ^= 1
    segment.write_bytes(data)
    with opened(tmp_path / "log") as log:
        steps = _steps(log)
        assert _names(steps) == [["a"], ["b"]]
        assert [step.skipped_bytes > 0 for step in steps] == [False, True]


async def test_a_backend_that_is_slow_gets_fewer_requests(log: DurableLog) -> None:
    """It gets all, in order, in a request instead of fifty."""
    names = [f"span {number}" for number in range(50)]
    _stored(log, *(traces(name) for name in names))
    with Backend() as backend:
        destination = {
            "name": "slow",
            "type": "otlp_http",
            "url": backend.url,
            "timeout_seconds": PATIENCE_SECONDS,
        }
        async with Sending(log, destination) as sending:
            await sending.settled()
    (request,) = backend.requests
    assert names_of(Record("traces", request.body, 50, 1)) == names
    assert log.cursor("slow").position == log.end
