"""Several batches on their way at once, the cursor in order, one question to a dead backend."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidelight.collector.delivery import circuit
from sidelight.collector.destinations.common.outcome import Outcome, Retry
from support.backend import Backend, Reply, Request
from support.otlp_receiver import decode_spans
from support.sending import Sending, opened
from support.spans import Made, record
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("each_alone")


def names(request: Request) -> list[str]:
    return [span.name for span in decode_spans(gzip.decompress(request.body))]


def _only_name(request: Request) -> str:
    (name,) = names(request)
    return name


class Gate:
    """An OTLP backend that answers each span by name only once it is let through."""

    def __init__(self) -> None:
        self.open: dict[str, threading.Event] = {}
        self.down = False
        self.together = 0
        self.most_together = 0
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Reply:
        with self._lock:
            self.together += 1
            self.most_together = max(self.most_together, self.together)
        try:
            if self.down:
                time.sleep(0.02)
                return Reply(503)
            for name in names(request):
                if name in self.open:
                    self.open[name].wait(120)
            return Reply()
        finally:
            with self._lock:
                self.together -= 1


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def backend(gate: Gate) -> Iterator[Backend]:
    with Backend(gate.respond) as backend:
        yield backend
        for event in gate.open.values():
            event.set()


def destination(backend: Backend, concurrency: int) -> dict[str, Any]:
    return {
        "type": "otlp_http",
        "name": "otlp",
        "url": backend.url,
        "concurrency": concurrency,
        "max_backoff_seconds": 0.3,
        "timeout_seconds": PATIENCE_SECONDS,
    }


async def test_batches_overtake_but_the_cursor_does_not(
    backend: Backend, gate: Gate, tmp_path: Path
) -> None:
    """While the first batch hangs the others are delivered, and the cursor stays before it."""
    gate.open["first"] = threading.Event()
    with opened(tmp_path) as log:
        start = log.end
        async with Sending(log, destination(backend, 3)) as sending:
            sending.append(record(Made("first")))
            sending.append(*(record(Made(f"{number}")) for number in range(2)))
            await sending.until(lambda: sending.tally.counts["otlp", "delivered"] == 2)
            assert log.cursor("otlp").position == start
            assert sending.forwarders[0].lag_seconds > 0
            gate.open["first"].set()
            await sending.settled()
            assert log.cursor("otlp").position == log.end
            assert sending.forwarders[0].lag_seconds == 0


async def test_a_crash_repeats_what_the_cursor_has_not_passed(
    backend: Backend, gate: Gate, tmp_path: Path
) -> None:
    """Nothing is lost when it ends with batches on their way; those done in order stay done."""
    gate.open["b"] = threading.Event()
    with opened(tmp_path) as log:
        start = log.end
        async with Sending(log, destination(backend, 4)) as sending:
            sending.append(*(record(Made(name)) for name in "abcd"))
            await sending.until(lambda: sending.tally.counts["otlp", "delivered"] == 3)
            await sending.until(lambda: log.cursor("otlp").position > start)
        gate.open["b"].set()
        async with Sending(log, destination(backend, 4)) as sending:
            await sending.until(lambda: log.cursor("otlp").position == log.end)
    seen = Counter(name for request in backend.requests for name in names(request))
    assert seen == Counter(a=1, b=2, c=2, d=2)


async def test_no_more_than_configured_go_at_once(
    backend: Backend, gate: Gate, tmp_path: Path
) -> None:
    """Concurrency is a bound."""
    batches = [f"{number}" for number in range(9)]
    gate.open = {name: threading.Event() for name in batches}
    with opened(tmp_path) as log:
        async with Sending(log, destination(backend, 4)) as sending:
            sending.append(*(record(Made(name)) for name in batches))

            def is_delivered(number: int) -> bool:
                return sending.tally.counts["otlp", "delivered"] >= number

            await sending.until(lambda: gate.together == 4)
            for number, event in enumerate(gate.open.values(), start=1):
                event.set()
                # One at a time, so that there is every chance to send too many.
                await sending.until(partial(is_delivered, number))
            await sending.settled()
    assert gate.most_together == 4
    assert sending.tally.counts["otlp", "delivered"] == 9


async def test_a_backend_in_trouble_is_asked_by_one_request(
    backend: Backend, gate: Gate, tmp_path: Path
) -> None:
    """After the first failures only one batch at a time asks; when it is taken, all go."""
    gate.down = True
    with opened(tmp_path) as log:
        async with Sending(log, destination(backend, 4)) as sending:
            sending.append(*(record(Made(f"{number}")) for number in range(8)))
            await sending.until(lambda: sending.tally.counts["otlp", "retried"] >= 6)
            # Those of before the first failure have all come, and been answered.
            await sending.until(lambda: len({*map(_only_name, list(backend.requests))}) >= 4)
            await sending.until(lambda: gate.together == 0)
            gate.most_together = 0
            asked = len(backend.requests)
            await sending.until(lambda: len(backend.requests) >= asked + 3)
            assert gate.most_together == 1
            gate.down = False
            await sending.until(lambda: log.cursor("otlp").position == log.end)
            assert sending.forwarders[0].status.trouble is None
    assert sending.tally.counts["otlp", "delivered"] == 8


async def test_requests_that_fail_together_are_one_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The interval grows with the failures of the backend, not with the requests under way."""
    attempts: list[int] = []

    def no_wait(attempt: int, wish: float | None, most: float) -> float:
        attempts.append(attempt)
        return 0

    monkeypatch.setattr(circuit, "backoff_seconds", no_wait)
    one = circuit.Circuit(max_backoff_seconds=100)
    failed = asyncio.Event()

    async def fail() -> Outcome:
        await failed.wait()
        return Retry("down")

    tries = [asyncio.ensure_future(one.run(fail)) for _ in range(20)]
    await asyncio.sleep(0)
    failed.set()
    await asyncio.gather(*tries)
    assert attempts == []
    await one.run(fail)
    await one.run(fail)
    assert attempts == [1, 2]


@pytest.mark.parametrize(
    ("attempt", "wish", "low", "high"),
    [
        (1, None, 0.2, 0.4),
        (3, None, 0.8, 1.6),
        (30, None, 15, 30),
        (1, 7.0, 7, 7),
        (1, 1e9, 300, 300),
    ],
)
def test_intervals_grow_to_a_bound(
    attempt: int, wish: float | None, low: float, high: float
) -> None:
    """Doubling with jitter up to the most; the backend's wish up to ten times that."""
    assert all(low <= circuit.backoff_seconds(attempt, wish, 30) <= high for _ in range(100))
