"""One subscription's way through the log: read, deliver, and move the cursor in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from sidelight.base.executor import DaemonExecutor, run_in_thread
from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.feed import Feed, Held, LogFeed, Step
from sidelight.collector.delivery.log_reader import LogReader
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.record_delivery import RecordDelivery
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.position import Position

_logger = logging.getLogger(__name__)


# Whole batches that fail and that others may pass: this many, and beyond it as many as take little
# memory, since with enough of them nothing would get through that shows whose fault it is. For that
# reason those of which single items are left do not count.
MAX_PASSED = 4
MAX_PASSED_BYTES = 8 * 1024 * 1024
# Batches that may be done before an older one is: a crash sends all of them again.
MAX_AHEAD = 256


@dataclass(slots=True)
class _InFlight:
    """A batch on its way: where the cursor may stand once it is done, when it was appended."""

    end: Position
    time_ns: int
    bytes: int
    delivery: asyncio.Future[None] = field(init=False)
    may_be_passed: bool = False
    """It fails, and the batches behind it are tried to see whose fault that is."""
    is_small: bool = False
    """Only single items of it are left."""

    @property
    def is_done(self) -> bool:
        return self.delivery.done()


class Forwarder:
    """Brings one destination everything in the log, in order, at least once.

    It runs on the event loop, with a thread of its own for the disk, so that one that hangs
    delays nobody else. Up to `concurrency` batches are on their way at the same time, beside those
    that fail for long; the cursor passes them in order, each once it and all before it are done.
    """

    def __init__(
        self,
        exporter: Exporter,
        cursor: Cursor,
        *,
        dead_letters: DeadLetters,
        observer: Observer,
        max_backoff_seconds: float,
        max_blocked_seconds: float,
        feed: Feed | None = None,
        concurrency: int = 1,
        is_ordered: bool = False,
        status: DeliveryStatus | None = None,
    ) -> None:
        """`feed` is by default all of the log."""
        self.exporter = exporter
        self.status = status or DeliveryStatus()
        self._observer = observer
        self._concurrency = concurrency
        self._disk = DaemonExecutor(f"sidelight-{exporter.name}")
        self._delivery = RecordDelivery(
            exporter,
            dead_letters=dead_letters,
            disk=self._disk,
            observer=observer,
            status=self.status,
            max_backoff_seconds=max_backoff_seconds,
            max_blocked_seconds=max_blocked_seconds,
            max_under_way=concurrency + MAX_PASSED,
            is_ordered=is_ordered,
        )
        self._reader = LogReader(
            cursor,
            feed or LogFeed(cursor, exporter.signals),
            signals=exporter.signals,
            disk=self._disk,
            status=self.status,
            max_backoff_seconds=max_backoff_seconds,
            give_up=self._delivery.give_up,
            committed=self._note_committed,
        )
        self._appended = asyncio.Event()
        # A batch is done or may be passed.
        self._progress = asyncio.Event()
        # Either of both: to wait for two events takes two tasks, which cost as much as a batch.
        self._stirred = asyncio.Event()
        self._in_flight: deque[_InFlight] = deque()
        self._held_ns: int | None = None
        self._is_finishing = False

    def wake(self) -> None:
        """Something was appended."""
        self.status.busy()
        self._appended.set()
        self._stirred.set()

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that the destination has yet to get; 0 if it has all."""
        oldest = self._in_flight[0].time_ns if self._in_flight else self._held_ns
        return 0.0 if oldest is None else max(0.0, (time.time_ns() - oldest) / 1e9)

    async def run(self) -> None:
        """Forward until cancelled or finished."""
        # Read ahead of the cursor, which only passes what is done.
        position = self._reader.position
        try:
            while not self._is_finishing:
                self._appended.clear()
                self._pass_done()
                if not self._has_room():
                    await self._wait_for_progress()
                    continue
                step = await self._reader.next(position)
                if isinstance(step, Step):
                    self._begin(step)
                    position = step.end
                    continue
                self._held_ns = step.since_ns if step else None
                await self._rest(step)
            while self._in_flight:
                await self._wait_for_progress()
            await self._reader.commit()
        finally:
            await self._cancel_in_flight()

    def _begin(self, step: Step) -> None:
        """Begin to deliver what is to be sent before the cursor may pass the end of `step`."""
        self._report_damage(step)
        self.status.busy()
        size = len(step.record.payload) if step.record else 0
        batch = _InFlight(step.end, step.time_ns, size)
        if step.record is None:
            batch.delivery = asyncio.get_running_loop().create_future()
            batch.delivery.set_result(None)
        else:
            batch.delivery = asyncio.ensure_future(
                self._delivery.deliver(
                    step.record,
                    partial(self._let_pass, batch),
                    is_test=any(earlier.may_be_passed for earlier in self._in_flight),
                )
            )
            batch.delivery.add_done_callback(self._note_progress)
        self._in_flight.append(batch)

    def _has_room(self) -> bool:
        """Whether one more batch may be sent."""
        # Batches that were passed and are done wait for the cursor only.
        under_way = [
            batch
            for batch in self._in_flight
            if not (batch.is_done or (batch.may_be_passed and batch.is_small))
        ]
        passed = [batch.bytes for batch in under_way if batch.may_be_passed]
        is_passable = len(passed) <= MAX_PASSED or sum(passed) <= MAX_PASSED_BYTES
        blocking = len(under_way) - (len(passed) if is_passable else MAX_PASSED)
        return blocking < self._concurrency and len(self._in_flight) < MAX_AHEAD

    def _let_pass(self, batch: _InFlight, is_small: bool) -> None:
        if not batch.may_be_passed or batch.is_small != is_small:
            batch.may_be_passed, batch.is_small = True, is_small
            self._note_progress()

    def _note_committed(self) -> None:
        # It may be the last thing to be done before the destination has caught up.
        self._stirred.set()

    def _note_progress(self, _: asyncio.Future[None] | None = None) -> None:
        self._progress.set()
        self._stirred.set()

    async def _wait_for_progress(self) -> None:
        """Until a batch is done, or may be passed; the cursor then passes what is done."""
        # First: what happens after it wakes this up again.
        self._progress.clear()
        self._pass_done()
        if self._in_flight:
            await self._progress.wait()

    async def _rest(self, held: Held | None) -> None:
        """Until more is appended, the oldest batch is done, or what is held is due."""
        # What was appended while the end was looked for is still to be read.
        has_all = not (self._in_flight or self._appended.is_set())
        if has_all and self._reader.is_committed:
            self.status.caught_up()
        if not (self._appended.is_set() or self._progress.is_set()):
            self._stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(held.seconds if held else None):
                    await self._stirred.wait()
        self._progress.clear()
        self._pass_done()

    def _pass_done(self) -> None:
        """The cursor may move behind what is done, up to the first batch that is not."""
        while self._in_flight and self._in_flight[0].is_done:
            # Raises what nobody foresaw: the cursor must not pass what was not delivered.
            self._in_flight[0].delivery.result()
            self._reader.done(self._in_flight.popleft().end)

    async def _cancel_in_flight(self) -> None:
        """What follows may send the same: nothing of it must be under way any more."""
        deliveries = [batch.delivery for batch in self._in_flight]
        self._in_flight.clear()
        for delivery in deliveries:
            delivery.cancel()
        await asyncio.gather(*deliveries, return_exceptions=True)

    def _report_damage(self, step: Step) -> None:
        if step.skipped_bytes:
            _logger.error("log: skipped %d damaged bytes at %s", step.skipped_bytes, step.start)
            self._observer.dropped(self.exporter.name, 1, "damaged")

    def finish(self) -> None:
        """Begin nothing more: `run` returns once what is on its way has arrived."""
        self._is_finishing = True
        # Wakes `run` where it waits for data.
        self._appended.set()
        self._stirred.set()

    def close(self) -> None:
        """Give up a send under way; the cursor stays where it is committed."""
        self.exporter.close()
        self._reader.close()

    async def closed(self) -> None:
        """After `close`: return once its thread does not touch the log any more."""
        await run_in_thread(self._disk.join, "sidelight-join")
