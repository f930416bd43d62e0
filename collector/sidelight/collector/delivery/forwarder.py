"""One destination's way through the log: read, pace, send, retry, commit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from sidelight.base.executor import Worker
from sidelight.collector.delivery.circuit import Circuit, backoff_seconds
from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.faults import MOST_FAULTS, Faults, place
from sidelight.collector.delivery.feed import Feed, Held, LogFeed, Step
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.destinations.common.outcome import (
    Delivered,
    Exporter,
    Outcome,
    Refused,
    Retry,
)
from sidelight.collector.log.cursor import Position
from sidelight.collector.log.log import Log
from sidelight.collector.log.record import Record
from sidelight.otlp.request import halves

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Observer(Protocol):
    """Who counts what the forwarder does."""

    def delivered(self, destination: str, items: int) -> None:
        """The destination took `items`."""

    def dropped(self, destination: str, items: int, reason: str) -> None:
        """Acknowledged items were given up."""

    def retried(self, destination: str) -> None:
        """A send failed and will be repeated."""


class _UnsendableError(Exception):
    """Sending a record fails of itself, again and again; the message says where."""


class _InFlight(NamedTuple):
    """A batch on its way: where the cursor may stand once it is done, when it was appended."""

    delivery: asyncio.Future[None]
    end: Position
    time_ns: int


class Forwarder:
    """Brings one destination everything in the log, in order, at least once.

    It has a thread of its own for the disk, so that one that hangs delays nobody else. With a
    `concurrency` above one so many batches are on their way at the same time; the cursor
    passes them in order, each once it and all before it are done.
    """

    def __init__(
        self,
        destination: Exporter,
        log: Log,
        *,
        dead_letters: DeadLetters,
        observer: Observer,
        max_backoff_seconds: float,
        feed: Feed | None = None,
        concurrency: int = 1,
    ) -> None:
        self.destination = destination
        self._log = log
        self._feed = feed or LogFeed(log, destination.signals)
        self._dead_letters = dead_letters
        self._observer = observer
        self._max_backoff_seconds = max_backoff_seconds
        self._concurrency = concurrency
        self._circuit = Circuit(max_backoff_seconds)
        self._appended = asyncio.Event()
        self._settled = asyncio.Event()
        self._thread = Worker(f"sidelight-{destination.name}")
        self._in_flight: deque[_InFlight] = deque()
        self._done_until: Position | None = None
        self._held_ns: int | None = None
        self._next_send = 0.0
        self._commit_fails = False
        self._is_finishing = False
        self.trouble: str | None = None
        """Why the destination does not take data now; None while it does."""

    def wake(self) -> None:
        """Something was appended."""
        if self.trouble is None:
            self._settled.clear()
        self._appended.set()

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that the destination has yet to get; 0 if it has all."""
        oldest = self._in_flight[0].time_ns if self._in_flight else self._held_ns
        return 0.0 if oldest is None else max(0.0, (time.time_ns() - oldest) / 1e9)

    async def run(self) -> None:
        """Forward until cancelled or finished."""
        name = self.destination.name
        position = await self._from_log(partial(self._log.cursor, name))
        try:
            while not self._is_finishing:
                self._appended.clear()
                if len(self._in_flight) >= self._concurrency:
                    await asyncio.wait([self._in_flight[0].delivery])
                    self._pass_done()
                    continue
                step = await self._next(position)
                if step is None or isinstance(step, Held):
                    self._held_ns = step.since_ns if step else None
                    await self._rest(step.seconds if step else None)
                    continue
                self._report_damage(step)
                position = step.end
                if self.trouble is None:
                    self._settled.clear()
                self._in_flight.append(
                    _InFlight(asyncio.ensure_future(self._take(step)), step.end, step.time_ns)
                )
            while self._in_flight:
                await asyncio.wait([self._in_flight[0].delivery])
                self._pass_done()
            await self._thread.run(self._commit)
        finally:
            deliveries = [each.delivery for each in self._in_flight]
            for delivery in deliveries:
                delivery.cancel()
            await asyncio.gather(*deliveries, return_exceptions=True)
            self._in_flight.clear()

    async def _next(self, position: Position) -> Step | Held | None:
        """What the feed has at `position`; a record that it cannot read is given up."""
        faults = Faults()
        attempt = 0
        while True:
            try:
                found = await self._from_log(partial(self._commit_and_read, position))
            except Exception as error:  # noqa: BLE001 (whatever it is, others wait behind it)
                attempt += 1
                reason = f"a record cannot be read: {place(error)}"
                if faults.is_hopeless(error):
                    self._clear_trouble()
                    return await self._pass_over(position, reason)
                if reason != self.trouble:
                    _logger.error(
                        "%s waits, will try %d times: %s",
                        self.destination.name,
                        MOST_FAULTS,
                        reason,
                    )
                self.trouble = reason
                self._settled.set()
                await asyncio.sleep(backoff_seconds(attempt, None, self._max_backoff_seconds))
            else:
                if attempt:
                    self._clear_trouble()
                return found

    async def _pass_over(self, position: Position, reason: str) -> Step | None:
        entry = await self._from_log(partial(self._log.read, position))
        if entry is None:
            return None
        if entry.record.signal in self.destination.signals:
            await self._give_up(entry.record, reason)
        return Step(None, entry.start, entry.end, entry.record.time_ns, entry.skipped_bytes)

    async def _give_up(self, record: Record, reason: str) -> None:
        name = self.destination.name
        self._observer.dropped(name, record.items, "failed")
        await self._keep(record, None, reason)
        _logger.error(
            "%s does not get %d items, after %d attempts: %s; see dead letters %s",
            name,
            record.items,
            MOST_FAULTS,
            reason,
            self._dead_letters.path(name),
        )

    async def _take(self, step: Step) -> None:
        if step.record is None:
            return
        given_up: Counter[int] = Counter()
        await self._deliver(step.record, given_up)
        if given_up:
            name = self.destination.name
            _logger.error(
                "%s refused %d of %d items for good (status %s); see dead letters %s",
                name,
                given_up.total(),
                step.record.items,
                ", ".join(map(str, sorted(given_up))),
                self._dead_letters.path(name),
            )

    async def _rest(self, seconds: float | None) -> None:
        """Until more is appended, the oldest batch is done, or so much time has passed."""
        # What was appended while the end was looked for is still to be read.
        if not self._in_flight and not self._appended.is_set():
            self._settled.set()
        appended: asyncio.Future[Any] = asyncio.ensure_future(self._appended.wait())
        oldest = [each.delivery for each in self._in_flight][:1]
        try:
            await asyncio.wait(
                {appended, *oldest}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            appended.cancel()
        self._pass_done()

    def _pass_done(self) -> None:
        """The cursor may move behind what is done, up to the first batch that is not."""
        while self._in_flight and self._in_flight[0].delivery.done():
            self._in_flight[0].delivery.result()
            self._done_until = self._in_flight.popleft().end

    def _commit_and_read(self, position: Position) -> Step | Held | None:
        """In one turn of the thread, because a turn costs as much as either."""
        self._commit()
        return self._feed.read(position)

    async def _from_log(self, read: Callable[[], _T]) -> _T:
        """What `read` finds, as soon as the disk gives it."""
        attempt = 0
        while True:
            try:
                found = await self._thread.run(read)
            except OSError as error:
                attempt += 1
                if attempt == 1:
                    _logger.error(
                        "%s waits, the log cannot be read, will go on trying: %s",
                        self.destination.name,
                        error,
                    )
                self.trouble = f"the log cannot be read: {error}"
                self._settled.set()
                await asyncio.sleep(backoff_seconds(attempt, None, self._max_backoff_seconds))
            else:
                if attempt:
                    _logger.info("%s reads the log again", self.destination.name)
                    self._clear_trouble()
                return found

    def _commit(self) -> None:
        """A cursor that cannot be written (the disk is full) must not stop the sending that
        lets the disk become empty; only a crash meanwhile would have data sent again.
        """
        end, self._done_until = self._done_until, None
        if end is None:
            return
        name = self.destination.name
        try:
            self._log.commit(name, end)
        except OSError as error:
            if not self._commit_fails:
                _logger.error("log: the cursor of %s cannot be written: %s", name, error)
            self._commit_fails = True
        else:
            self._commit_fails = False

    async def settled(self) -> None:
        """Return once the destination has everything, or is in trouble: no use in waiting."""
        await self._settled.wait()

    async def _deliver(self, record: Record, given_up: Counter[int]) -> None:
        """Until the destination has taken it; counts in `given_up` what it refused, by status."""
        name = self.destination.name
        faults = Faults()
        while True:
            await self._pace(record.items)
            try:
                outcome = await self._circuit.run(partial(self._send, record, faults))
            except _UnsendableError as error:
                self._clear_trouble()
                await self._give_up(record, str(error))
                return
            match outcome:
                case Delivered() as delivered:
                    self._recovered()
                    self._observer.delivered(name, record.items - delivered.rejected)
                    if delivered.rejected:
                        await self._note_rejected(record, delivered)
                    return
                case Refused() as refusal:
                    self._recovered()
                    await self._halve(record, refusal, given_up)
                    return
                case Retry(reason):
                    self._observer.retried(name)
                    self._troubled(reason)

    async def _send(self, record: Record, faults: Faults) -> Outcome:
        try:
            return await self.destination.send(record)
        except Exception as error:
            reason = f"sending fails: {place(error)}"
            if faults.is_hopeless(error):
                raise _UnsendableError(reason) from error
            return Retry(reason)

    async def _note_rejected(self, record: Record, delivered: Delivered) -> None:
        name, rejected = self.destination.name, delivered.rejected
        self._observer.dropped(name, rejected, "rejected")
        why = delivered.reason
        if delivered.said:
            await self._keep(record, 200, with_words(why, delivered.said))
            letters = f"see dead letters {self._dead_letters.path(name)}"
            why = f"{why}; {letters}" if why else letters
        _logger.warning(
            "%s rejected %d of %d items: %s",
            name,
            rejected,
            record.items,
            why or "it does not say why",
        )

    async def _halve(self, record: Record, refusal: Refused, given_up: Counter[int]) -> None:
        """Send both halves of what was refused whole, so that only what is bad is given up."""
        name = self.destination.name
        try:
            parts = await self._thread.run(lambda: halves(record.body()))
        except Exception as error:  # noqa: BLE001
            # Kept whole, or it would be begun anew for ever and hold up all behind it.
            _logger.error("what %s refused cannot be halved: %s", name, place(error))
            parts = None
        if parts is None:
            self._observer.dropped(name, record.items, "refused")
            given_up[refusal.status] += record.items
            await self._keep(record, refusal.status, with_words(refusal.reason, refusal.said))
            return
        for body, items in parts:
            await self._deliver(record.with_body(body, items), given_up)

    async def _keep(self, record: Record, status: int | None, reason: str) -> None:
        name = self.destination.name
        await self._thread.run(
            partial(self._dead_letters.add, name, record, status=status, reason=reason)
        )

    async def _pace(self, items: int) -> None:
        rate = self.destination.pace_items_per_second
        if rate is None:
            return
        now = time.monotonic()
        if self._next_send > now:
            await asyncio.sleep(self._next_send - now)
        self._next_send = max(now, self._next_send) + items / rate

    def _troubled(self, reason: str) -> None:
        if reason != self.trouble:
            _logger.warning(
                "%s does not take data, nothing is lost, will go on trying: %s",
                self.destination.name,
                reason,
            )
        self.trouble = reason
        self._settled.set()

    def _recovered(self) -> None:
        if self.trouble is not None:
            _logger.info("%s takes data again", self.destination.name)
            self._clear_trouble()

    def _clear_trouble(self) -> None:
        self.trouble = None
        # It is worth waiting for again.
        self._settled.clear()

    def _report_damage(self, step: Step) -> None:
        if step.skipped_bytes:
            _logger.error(
                "log: skipped %d damaged bytes at %s", step.skipped_bytes, tuple(step.start)
            )
            self._observer.dropped(self.destination.name, 1, "damaged")

    def finish(self) -> None:
        """Begin nothing more: `run` returns once what is on its way has arrived."""
        self._is_finishing = True
        self._appended.set()

    async def ended(self) -> None:
        """After `close`: return once none of its threads touches the log or the destination."""
        await asyncio.to_thread(self._thread.join)

    def close(self) -> None:
        """Give up a send under way; the cursor stays where it is committed."""
        self.destination.close()
        self._thread.close()
