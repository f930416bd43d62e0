"""Group commit: many requests, one compressed record, one fdatasync.

While the disk writes one group the next one gathers, so the size of a group follows the load:
a lone request is written at once, many requests share one fsync. Requests that have arrived and
are only to be processed are waited for, because a turn of the thread costs as much as they do.
So are, for a moment, the next requests of busy senders: once they have an answer they send again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from sidelight.base.executor import DaemonExecutor
from sidelight.collector.log.errors import LogBusyError, LogError, LogFailedError
from sidelight.collector.log.record import Encoding, Record, encode
from sidelight.otlp.signals import SIGNALS, Signal

_logger = logging.getLogger(__name__)

# Serialised messages of one type concatenate into their merge, so a group becomes one request;
# backends cap a request at 4 MiB and up.
MAX_GROUP_BYTES = 4 * 1024 * 1024

MAX_GATHER_SECONDS = 0.001
"""How long a group whose turn it is gathers, and only while there is something to process."""
# The loop reads what has arrived behind the first of them, and processes it before the second ends.
_GATHER_TURNS = 2

MAX_SENDERS_SECONDS = 0.002
"""How long a group waits for senders that were just answered. The loop's timers take up to 1 ms
more.
"""
MAX_SENDERS_BYTES = 64 * 1024
"""Of a request, on average, for its senders to be waited for: larger ones cost more than the turn
of the thread that waiting saves.
"""
MIN_SHARED_WRITES = 3
"""In a row, before senders are waited for. Of two that send rarely one now and then comes while
the other's request is written.
"""


class Appendable(Protocol):
    """What the writer needs of a log; all calls block and come from one thread.

    Each raises `OSError`, or `LogError` if the log's folder is gone for good.
    """

    def append(self, records: Sequence[Record]) -> None:
        """Store durably; if it raises, nothing is stored."""

    def verify(self) -> None:
        """Check whether the log's files are where they were opened, without writing."""

    def probe(self) -> None:
        """Check whether the disk takes data."""


Settled = Callable[[LogFailedError | None], None]
"""Told what became of a request, also if nobody waits for it any more."""


@dataclass(slots=True)
class _Pending:
    signal: Signal
    body: bytes
    items: int
    done: asyncio.Future[None]
    settled: Settled | None


class LogWriter:
    """Appends from the event loop; a thread of its own compresses, writes and waits."""

    def __init__(
        self,
        log: Appendable,
        *,
        max_pending_bytes: int,
        encoding: Encoding = "gzip",
        appended: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._encoding = encoding
        self._max_pending_bytes = max_pending_bytes
        self._appended = appended
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._thread = DaemonExecutor("sidelight-log")
        # The group that the thread has.
        self._writing: asyncio.Future[None] | None = None
        self._is_gathering = False
        self._gathers_until = 0.0
        # Writes in a row that were for several senders, or in whose time others came.
        self._shared_writes = 0
        # A waiting group is written once it has so many requests, or when the timer ends.
        self._wanted = 0
        self._timer: asyncio.TimerHandle | None = None
        self.trouble: str | None = None
        """Why the last write failed; None since one succeeded."""

    @property
    def pending_bytes(self) -> int:
        """Uncompressed bytes that wait for the disk."""
        return self._pending_bytes

    async def append(self, signal: Signal, body: bytes, items: int) -> None:
        """Return once `body`, a serialised export request of `items` items, is on the disk.

        Raises `LogBusyError` if too much waits already, `LogFailedError` if the disk failed.
        """
        await self.submit(signal, body, items)

    def submit(
        self, signal: Signal, body: bytes, items: int, settled: Settled | None = None
    ) -> asyncio.Future[None]:
        """As `append`, but returns a future that is done once `body` is on the disk.

        The future may be cancelled: `body` is stored all the same. Raises `LogBusyError`.
        """
        # A request larger than the limit is accepted alone, or its sender would never be rid of it.
        if self._pending_bytes + len(body) > self._max_pending_bytes and self._pending_bytes:
            raise LogBusyError(f"{self._pending_bytes} bytes are waiting for the disk")
        loop = asyncio.get_running_loop()
        pending = _Pending(signal, body, items, loop.create_future(), settled)
        if not self._pending:
            self._gathers_until = time.perf_counter() + MAX_GATHER_SECONDS
        self._pending.append(pending)
        self._pending_bytes += len(body)
        if self._timer is None:
            self._write_soon()
        elif len(self._pending) >= self._wanted or not self._is_small(self._wanted):
            self._write()
        return pending.done

    def _write_soon(self) -> None:
        """Write what is pending, once the disk is free and what has arrived is processed."""
        if self._writing is not None or not self._pending:
            return
        if time.perf_counter() > self._gathers_until:
            self._write()
        elif not self._is_gathering:
            self._is_gathering = True
            asyncio.get_running_loop().call_soon(self._gather, _GATHER_TURNS - 1)

    def _gather(self, turns: int) -> None:
        if turns and time.perf_counter() < self._gathers_until:
            asyncio.get_running_loop().call_soon(self._gather, turns - 1)
            return
        self._is_gathering = False
        if self._writing is None and self._pending and self._timer is None:
            self._write()

    def _write(self) -> None:
        self._stop_timer()
        group, self._pending = self._pending, []
        try:
            self._writing = self._thread.submit(partial(self._store, group))
        except RuntimeError as error:  # it is closed
            self._settle(group, error)
        else:
            self._writing.add_done_callback(partial(self._written, group))

    def _written(self, group: Sequence[_Pending], writing: asyncio.Future[None]) -> None:
        self._writing = None
        # First, so that the disk need not wait for the answers to the last group.
        self._write_or_wait(len(group))
        error = RuntimeError("it is closed") if writing.cancelled() else writing.exception()
        self._settle(group, error)

    def _write_or_wait(self, answered: int) -> None:
        """Write what is pending, or let the senders join that are about to be answered."""
        requests = len(self._pending) + answered
        is_shared = requests > 1 and self._is_small(requests)
        self._shared_writes = self._shared_writes + 1 if is_shared else 0
        if self._shared_writes < MIN_SHARED_WRITES or self._thread.is_closed:
            self._write_soon()
            return
        self._wanted = requests
        self._timer = asyncio.get_running_loop().call_later(
            MAX_SENDERS_SECONDS, self._wait_no_longer
        )

    def _is_small(self, requests: int) -> bool:
        """Whether so many requests, of which some may be about to be answered, are small."""
        return self._pending_bytes <= MAX_SENDERS_BYTES * requests

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_no_longer(self) -> None:
        self._timer = None
        # They do not send again at once. A wait like this one is the last for some time.
        self._shared_writes = 0
        self._write_soon()

    def _settle(self, group: Sequence[_Pending], error: BaseException | None) -> None:
        """Tell the senders of a group what became of it."""
        self._pending_bytes -= sum(len(pending.body) for pending in group)
        if error is not None:
            self._failed(error)
            reason: Literal["disk", "folder"]
            reason = "folder" if isinstance(error, LogError) else "disk"
            for pending in group:
                failure = LogFailedError(str(error), reason)
                if pending.settled is not None:
                    pending.settled(failure)
                if not pending.done.done():
                    pending.done.set_exception(failure)
            return
        self._recovered()
        for pending in group:
            if pending.settled is not None:
                pending.settled(None)
            # A sender that hung up has cancelled its future; its data is stored.
            if not pending.done.done():
                pending.done.set_result(None)
        # Once for the group, not for each request: it wakes every destination.
        self._appended()

    async def confirm(self) -> None:
        """Return if what is stored can be found at the next start.

        For a request that is acknowledged without being stored. Raises `LogFailedError`.
        """
        try:
            await self._thread.run(self._log.verify)
        except (OSError, LogError) as error:
            self._failed(error)
            raise LogFailedError(str(error), "folder") from error

    async def probe(self) -> None:
        """Look after the log without any traffic: is its folder there, and if the last write
        failed, does the disk take data again?

        A collector that is not ready may get no requests that would show it.
        """
        # A drain closes the writer while this goes on.
        if self._thread.is_closed:
            return
        is_well = self.trouble is None
        try:
            await self._thread.run(self._log.verify if is_well else self._log.probe)
        except (OSError, LogError) as error:
            self._failed(error)
        else:
            self._recovered()

    def _failed(self, error: BaseException) -> None:
        if self.trouble is None:
            _logger.error("the log cannot be written, refusing requests: %s", error)
        self.trouble = str(error)

    def _recovered(self) -> None:
        if self.trouble is not None:
            _logger.info("the log can be written again")
        self.trouble = None

    def _store(self, group: Sequence[_Pending]) -> None:
        self._log.append([_merge(part, self._encoding) for part in _parts(group)])

    async def close(self) -> None:
        """Wait until everything pending is on the disk."""
        while self._writing is not None or self._pending:
            if self._writing is None:
                self._write()
            else:
                await asyncio.wait([self._writing])
        self._stop_timer()
        self._thread.close()
        await asyncio.to_thread(self._thread.join)


def _parts(group: Sequence[_Pending]) -> list[list[_Pending]]:
    """The group by signal, in parts of at most `MAX_GROUP_BYTES` unless one request is larger."""
    parts: list[list[_Pending]] = []
    # Signals are kept apart because a record is one OTLP request, which holds one signal.
    for signal in SIGNALS:
        part_bytes = 0
        for pending in group:
            if pending.signal != signal:
                continue
            part_bytes += len(pending.body)
            is_new_signal = not parts or parts[-1][0].signal != signal
            if is_new_signal or part_bytes > MAX_GROUP_BYTES:
                parts.append([])
                part_bytes = len(pending.body)
            parts[-1].append(pending)
    return parts


def _merge(part: Sequence[_Pending], encoding: Encoding) -> Record:
    body = part[0].body if len(part) == 1 else b"".join(pending.body for pending in part)
    return Record(
        signal=part[0].signal,
        payload=encode(body, encoding),
        items=sum(pending.items for pending in part),
        time_ns=time.time_ns(),
        encoding=encoding,
    )
