"""One destination's way through the log: read, pace, send, retry, commit."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from sidelight.collector.lens.request import halves
from sidelight.collector.log.log import Log, Position
from sidelight.collector.log.record import Record
from sidelight.collector.send.dead_letters import DeadLetters
from sidelight.collector.send.feed import Feed, Held, LogFeed, Step
from sidelight.collector.send.outcome import Delivered, Destination, Outcome, Refused, Retry

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_FIRST_BACKOFF_SECONDS = 0.2


class Observer(Protocol):
    """Who counts what the forwarder does."""

    def delivered(self, destination: str, items: int) -> None:
        """The destination took `items`."""

    def dropped(self, destination: str, items: int, reason: str) -> None:
        """Acknowledged items were given up."""

    def retried(self, destination: str) -> None:
        """A send failed and will be repeated."""


class Forwarder:
    """Brings one destination everything in the log, in order, at least once.

    It has a thread of its own, so that a destination that hangs delays nobody else.
    """

    def __init__(
        self,
        destination: Destination,
        log: Log,
        *,
        dead_letters: DeadLetters,
        observer: Observer,
        max_backoff_seconds: float,
        feed: Feed | None = None,
    ) -> None:
        self.destination = destination
        self._log = log
        self._feed = feed or LogFeed(log, destination.signals)
        self._dead_letters = dead_letters
        self._observer = observer
        self._max_backoff_seconds = max_backoff_seconds
        self._appended = asyncio.Event()
        self._settled = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sidelight-{destination.name}")
        self._oldest_ns: int | None = None
        self._next_send = 0.0
        self._commit_fails = False
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
        oldest = self._oldest_ns
        return 0.0 if oldest is None else max(0.0, (time.time_ns() - oldest) / 1e9)

    async def run(self) -> None:
        """Forward until cancelled."""
        name = self.destination.name
        position = await self._from_log(partial(self._log.cursor, name))
        while True:
            self._appended.clear()
            step = await self._from_log(partial(self._feed.read, position))
            if step is None or isinstance(step, Held):
                self._oldest_ns = step.since_ns if step else None
                self._settled.set()
                await self._wait(step.seconds if step else None)
                continue
            self._report_damage(step)
            if step.record is not None:
                self._oldest_ns = step.time_ns
                await self._deliver(step.record)
            position = step.end
            await self._commit(position)

    async def _from_log(self, read: Callable[[], _T]) -> _T:
        """What `read` finds, as soon as the disk gives it."""
        attempt = 0
        while True:
            try:
                found = await self._on_thread(read)
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
                await asyncio.sleep(self._backoff(attempt, None))
            else:
                if attempt:
                    _logger.info("%s reads the log again", self.destination.name)
                    self._clear_trouble()
                return found

    async def _commit(self, position: Position) -> None:
        """A cursor that cannot be written (the disk is full) must not stop the sending that
        lets the disk become empty; only a crash meanwhile would have data sent again.
        """
        name = self.destination.name
        try:
            await self._on_thread(partial(self._log.commit, name, position))
        except OSError as error:
            if not self._commit_fails:
                _logger.error("log: the cursor of %s cannot be written: %s", name, error)
            self._commit_fails = True
        else:
            self._commit_fails = False

    async def _wait(self, seconds: float | None) -> None:
        """Until something is appended, at most so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._appended.wait(), seconds)

    async def settled(self) -> None:
        """Return once the destination has everything, or is in trouble: no use in waiting."""
        await self._settled.wait()

    async def _deliver(self, record: Record) -> None:
        name = self.destination.name
        attempt = 0
        while True:
            await self._pace(record.items)
            match await self._send(record):
                case Delivered(rejected, reason):
                    self._recovered()
                    self._observer.delivered(name, record.items - rejected)
                    if rejected:
                        self._observer.dropped(name, rejected, "rejected")
                        _logger.warning("%s rejected %d items: %s", name, rejected, reason)
                    return
                case Refused(reason, status):
                    self._recovered()
                    await self._halve(record, reason, status)
                    return
                case Retry(reason, after_seconds):
                    attempt += 1
                    self._observer.retried(name)
                    self._troubled(reason)
                    await asyncio.sleep(self._backoff(attempt, after_seconds))

    async def _send(self, record: Record) -> Outcome:
        try:
            return await self._on_thread(partial(self.destination.send, record))
        except Exception:
            _logger.exception("sending to %s failed", self.destination.name)
            return Retry("sending failed, see the collector's log")

    async def _halve(self, record: Record, reason: str, status: int) -> None:
        """Send both halves of what was refused whole, so that only what is bad is given up."""
        parts = await self._on_thread(lambda: halves(record.body()))
        if parts is None:
            name = self.destination.name
            _logger.error("%s refused an item for good (%d): %s", name, status, reason)
            self._observer.dropped(name, record.items, "refused")
            keep = partial(self._dead_letters.add, name, record, status=status, reason=reason)
            await self._on_thread(keep)
            return
        for body, items in parts:
            await self._deliver(record.with_body(body, items))

    async def _pace(self, items: int) -> None:
        rate = self.destination.pace_items_per_second
        if rate is None:
            return
        now = time.monotonic()
        if self._next_send > now:
            await asyncio.sleep(self._next_send - now)
        self._next_send = max(now, self._next_send) + items / rate

    def _backoff(self, attempt: int, after_seconds: float | None) -> float:
        """Full jitter over a doubling ceiling; a backend's own wish counts, within reason."""
        if after_seconds is not None:
            return min(after_seconds, 10 * self._max_backoff_seconds)
        ceiling = min(self._max_backoff_seconds, _FIRST_BACKOFF_SECONDS * 2 ** min(attempt, 16))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 (jitter, no secret)

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

    async def _on_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Give up a send under way; the cursor stays where it is committed."""
        self.destination.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
