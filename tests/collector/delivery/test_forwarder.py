"""A forwarder brings its destination everything in the log, in order, at least once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record
from support import otlp_requests
from support.backend import Reply
from support.forwarding import Running, Scripted, forwarding, names_of, traces
from support.sending import Sending, opened
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS, eventually_async


async def test_everything_in_order_and_once(log: DurableLog, tmp_path: Path) -> None:
    """What was there before it started, and what comes while it runs."""
    destination = Scripted()
    log.append([traces("a"), traces("b", "c")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.settled()
        assert destination.taken == ["a", "b", "c"]
        log.append([traces("d")])
        running.forwarder.wake()
        await running.settled()
    assert destination.taken == ["a", "b", "c", "d"]
    assert running.tally.counts == {("scripted", "delivered"): 4}
    assert log.cursor("scripted").position == log.end
    assert running.forwarder.lag_seconds == 0


async def test_a_restart_goes_on_at_the_cursor(tmp_path: Path) -> None:
    """What was taken is not sent again; what was not, is."""
    first = Scripted(lambda record: Retry("no") if names_of(record) == ["c"] else Delivered())
    with opened(tmp_path / "log") as log:
        log.append([traces("a"), traces("b"), traces("c"), traces("d")])
        async with forwarding(log, first, tmp_path) as running:
            await running.settled()
            assert running.forwarder.lag_seconds > 0
    assert first.taken == ["a", "b"]
    second = Scripted()
    with opened(tmp_path / "log") as log:
        async with forwarding(log, second, tmp_path) as running:
            await running.settled()
    assert second.taken == ["c", "d"]


async def test_other_signals_are_passed_over(log: DurableLog, tmp_path: Path) -> None:
    """The cursor goes past what the destination does not take."""
    log.append([otlp_requests.metrics(), traces("a"), otlp_requests.logs()])
    destination = Scripted(signals=frozenset({"traces"}))
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == ["a"]


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
        if names_of(record) == ["b"]:
            is_asked.set()
            assert may_go_on.wait(120)
        return Delivered()

    destination = Scripted(answer)
    log.append([traces("a"), traces("b")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.settled()
        assert destination.taken == []
        is_down.clear()
        await running.until(lambda: running.forwarder.status.trouble is None)
        waiting = asyncio.create_task(running.forwarder.status.settled())
        await eventually_async(is_asked.is_set)
        assert not waiting.done()
        may_go_on.set()
        async with asyncio.timeout(120):
            await waiting
    assert destination.taken == ["a", "b"]


async def test_it_finishes_while_it_waits_for_data(log: DurableLog, tmp_path: Path) -> None:
    """A reload must not wait for the next record, nor for the time after which it is cancelled."""
    running = Running(log, Scripted(), tmp_path)
    task = asyncio.create_task(running.forwarder.run())
    log.append([traces("a")])
    running.forwarder.wake()
    await running.until(lambda: log.cursor("scripted").position == log.end)
    await running.settled()
    running.forwarder.finish()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    running.forwarder.close()
    await running.forwarder.closed()


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
                sending.append(traces("a", "b"))
            await sending.settled("good")
            assert sum(good.ids.values()) == 40
            assert not hanging.ids
            assert not failing.ids
            await sending.until(lambda: sending.tally.counts["failing", "retried"] > 0)
            failing.refuse = lambda _: None
            await sending.until(lambda: sum(failing.ids.values()) == 40)
