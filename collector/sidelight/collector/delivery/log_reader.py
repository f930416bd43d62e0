"""The log as one subscription reads it: its next record, and the cursor that moves behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from sidelight.base.error_place import error_place
from sidelight.base.executor import DaemonExecutor
from sidelight.collector.delivery.circuit import backoff_seconds
from sidelight.collector.delivery.faults import MAX_FAULTS, Faults
from sidelight.collector.delivery.feed import Feed, Held, Step
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

# How often the cursor is written while records come: a turn of a thread costs as much as sending a
# small one. A crash sends again what was delivered in this time.
COMMIT_SECONDS = 0.05

GiveUp = Callable[[Record, str], Awaitable[None]]
"""Keeps a record aside, with the reason."""


class LogReader:
    """Takes from memory what is there, and reads the rest on the thread of `disk`, however often
    it takes until the disk gives it. The cursor is written on that thread too.
    """

    def __init__(
        self,
        cursor: Cursor,
        feed: Feed,
        *,
        signals: frozenset[Signal],
        disk: DaemonExecutor,
        status: DeliveryStatus,
        max_backoff_seconds: float,
        give_up: GiveUp,
        committed: Callable[[], None],
    ) -> None:
        """`committed` is called each time the cursor is behind all that is done with."""
        self._name = cursor.name
        self._cursor = cursor
        self._feed = feed
        self._signals = signals
        self._disk = disk
        self._status = status
        self._max_backoff_seconds = max_backoff_seconds
        self._give_up = give_up
        self._committed = committed
        self._done_until: Position | None = None
        self._newest_commit: Position | None = None
        self._committing: asyncio.Future[None] | None = None
        # The cursor is written at this time of the loop's clock, or later.
        self._commit_due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._commit_fails = False

    @property
    def position(self) -> Position:
        """Where to begin."""
        return self._cursor.position

    @property
    def is_committed(self) -> bool:
        """Whether the cursor is behind all that is done with."""
        return self._done_until is None and self._committing is None

    def done(self, end: Position) -> None:
        """All before `end` is done with: the cursor moves there soon after the next read."""
        self._done_until = end

    async def commit(self) -> None:
        """Return once the cursor is behind all that is done with."""
        self._commit_now()
        while self._committing is not None:
            # Returns after the callback that takes the commit away. An `await` of a commit that is
            # written returns before it, and this loop would never let it run.
            await asyncio.wait([self._committing])
            self._commit_now()

    def close(self) -> None:
        """Read no more. What was done with is still committed, so that it is not sent again."""
        if self._timer is not None:
            self._timer.cancel()
        self._take_done()
        newest = self._newest_commit
        self._disk.close(None if newest is None else partial(self._commit, newest))

    async def next(self, position: Position) -> Step | Held | None:
        """What is to be sent from `position` on; a record that cannot be read is given up."""
        # Without the thread: with one busy destination most records are still in memory.
        step = self._feed.recent(position)
        if step is None and not self._feed.is_end(position):
            return await self._next_from_disk(position)
        self._commit_soon()
        return step

    async def _next_from_disk(self, position: Position) -> Step | Held | None:
        faults = Faults()
        attempt = 0
        while True:
            try:
                step = await self._read(partial(self._commit_and_read, position, self._take_done()))
            except Exception as error:  # noqa: BLE001 (whatever it is, others wait behind it)
                attempt += 1
                reason = f"a record cannot be read: {error_place(error)}"
                # Read again to the last: a fault of memory or disk passes.
                if faults.is_hopeless(error):
                    self._status.recovered()
                    return await self._pass_over(position, reason)
                if self._status.troubled(reason, "log"):
                    _logger.error(
                        "export to %s waiting, %d attempts at most: %s",
                        self._name,
                        MAX_FAULTS,
                        reason,
                    )
                await self._back_off(attempt)
            else:
                if attempt:
                    self._status.recovered()
                return step

    async def _pass_over(self, position: Position, reason: str) -> Step | None:
        entry = await self._read(partial(self._cursor.read, position))
        if entry is None:
            return None
        # Of another signal nothing would have been sent either.
        if entry.record.signal in self._signals:
            await self._give_up(entry.record, reason)
        return Step(None, entry.start, entry.end, entry.record.time_ns, entry.skipped_bytes)

    def _take_done(self) -> Position | None:
        """What is done with and not committed. On the loop alone, so that nothing gets lost."""
        end, self._done_until = self._done_until, None
        self._newest_commit = end or self._newest_commit
        return end

    def _commit_soon(self) -> None:
        """Without waiting: the disk may take long, and sending need not stop for it."""
        if self._done_until is None or self._committing is not None or self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._commit_due:
            self._timer = loop.call_at(self._commit_due, self._commit_now)
        else:
            self._commit_now()

    def _commit_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # One write at a time: positions that come in the meantime are in the next.
        if self._committing is None and (end := self._take_done()) is not None:
            self._commit_due = asyncio.get_running_loop().time() + COMMIT_SECONDS
            self._committing = self._disk.submit(partial(self._commit, end))
            self._committing.add_done_callback(self._commit_on)

    def _commit_on(self, _: asyncio.Future[None]) -> None:
        """Commit what was done with while the last commit was written."""
        self._committing = None
        # `close` commits the rest itself.
        if not self._disk.is_closed:
            self._commit_soon()
        if self.is_committed:
            self._committed()

    def _commit_and_read(self, position: Position, end: Position | None) -> Step | Held | None:
        """In one turn of the thread, because a turn costs as much as either."""
        if end is not None:
            self._commit(end)
        return self._feed.read(position)

    async def _read(self, read: Callable[[], _T]) -> _T:
        """What `read` returns, as soon as the disk gives it."""
        attempt = 0
        while True:
            try:
                value = await self._disk.run(read)
            except OSError as error:
                attempt += 1
                if attempt == 1:
                    _logger.error(
                        "export to %s waiting, retrying: the log cannot be read: %s",
                        self._name,
                        error,
                    )
                self._status.troubled(f"the log cannot be read: {error}", "log")
                await self._back_off(attempt)
            else:
                if attempt and self._status.recovered():
                    _logger.info("export to %s: the log can be read again", self._name)
                return value

    async def _back_off(self, attempt: int) -> None:
        await asyncio.sleep(backoff_seconds(attempt, None, self._max_backoff_seconds))

    def _commit(self, end: Position) -> None:
        """A cursor that cannot be written (the disk is full) must not stop the sending that
        lets the disk become empty; only after a crash is data sent again.
        """
        try:
            self._cursor.commit(end)
        except OSError as error:
            if not self._commit_fails:
                _logger.error("log: the cursor of %s cannot be written: %s", self._name, error)
            self._commit_fails = True
        else:
            self._commit_fails = False
