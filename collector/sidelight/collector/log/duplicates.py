"""Requests that are sent again: stored once, acknowledged as soon as they are stored.

A sender that got no answer sends the same bytes again. Processing makes equal requests equal
bytes, so the processed bytes tell a repetition: by their xxh3 of 128 bits, with a seed of this
process's own, as the bytes come from outside. After a start the window is filled from the newest
records of the log, because a crash may have come between the disk and the answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import xxhash

from sidelight.collector.log.errors import LogFailedError
from sidelight.collector.log.record import Record
from sidelight.collector.log.writer import LogWriter
from sidelight.otlp.signals import SIGNALS, Signal

MAX_REQUESTS = 32768
"""Remembered at the same time; beyond it the oldest are forgotten early. They take 5 MB."""
MAX_RECOVERED_PARTS = 65536
MAX_RECOVERED_BYTES = 16 * 1024 * 1024
"""Of the newest records on disk, remembered after a start."""


_Repetitions = list[asyncio.Future[None]]
"""Senders that wait for the request to be written that they repeat."""


class Duplicates:
    """Stores a request that comes again within `seconds` only once; 0 stores everything.

    `is_repetition` is asked about bytes that were seen before: whether they can only be the
    same request sent again.
    """

    def __init__(
        self,
        writer: LogWriter,
        *,
        seconds: float,
        is_repetition: Callable[[Signal, bytes], bool],
        recovered: Iterable[Record] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._seconds = seconds
        self._is_repetition = is_repetition
        self._now = now
        seed = int.from_bytes(os.urandom(8))
        self._seeds = {signal: seed ^ number for number, signal in enumerate(SIGNALS)}
        # When it was stored, or who waits for the writing under way; the oldest comes first.
        self._known: dict[bytes, float | _Repetitions] = {}
        self._recovered = self._parts_of(recovered) if seconds else set()
        self._recovered_until = now() + seconds

    async def append(self, signal: Signal, body: bytes, items: int) -> bool:
        """Return once `body` is on the disk: True if it was stored now, False if before.

        Raises what `LogWriter.append` does, for a repetition if the first one fails.
        """
        if not self._seconds:
            await self._writer.append(signal, body, items)
            return True
        now = self._now()
        self._forget(now)
        key = xxhash.xxh3_128_digest(body, self._seeds[signal])
        known = self._known.get(key)
        if (known is not None or self._was_recovered(signal, body)) and self._is_repetition(
            signal, body
        ):
            if isinstance(known, list):
                # Of its own: a sender that gives up must not cancel the write of another.
                written = asyncio.get_running_loop().create_future()
                known.append(written)
                await written
            # What it repeats may have been deleted with the log's folder since.
            await self._writer.confirm()
            return False
        repetitions: _Repetitions = []
        # A sender that gives up is the one that comes again: its request must not be forgotten.
        settled = partial(self._settled, key, now, repetitions)
        stored = self._writer.submit(signal, body, items, settled)
        self._known.pop(key, None)
        if not stored.done():
            self._known[key] = repetitions
        await stored
        return True

    def _settled(
        self, key: bytes, began: float, repetitions: _Repetitions, error: LogFailedError | None
    ) -> None:
        if self._known.get(key) is repetitions:
            if error is None:
                self._known[key] = began
            else:
                del self._known[key]
        for written in repetitions:
            if written.done():  # its sender has given up
                continue
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)

    def _forget(self, now: float) -> None:
        if self._recovered and now > self._recovered_until:
            self._recovered = set()
        while self._known:
            key = next(iter(self._known))
            at = self._known[key]
            is_old = isinstance(at, float) and now - at > self._seconds
            if not is_old and len(self._known) < MAX_REQUESTS:
                break
            del self._known[key]

    def _was_recovered(self, signal: Signal, body: bytes) -> bool:
        """Whether every part of a request was on the disk when this process started.

        A record holds several requests whose bounds are no longer known, but each is made of
        whole parts: a request whose parts are all on the disk is on the disk.
        """
        if not self._recovered:
            return False
        seed = self._seeds[signal]
        digest = xxhash.xxh3_128_digest
        return all(digest(part, seed) in self._recovered for part in _parts(body))

    def _parts_of(self, records: Iterable[Record]) -> set[bytes]:
        digests: set[bytes] = set()
        for record in records:
            try:
                body = record.body()
            except Exception:  # noqa: BLE001, S112 (isal's own; what cannot be read is not known)
                continue
            seed = self._seeds[record.signal]
            for part in _parts(body):
                if len(digests) >= MAX_RECOVERED_PARTS:
                    return digests
                digests.add(xxhash.xxh3_128_digest(part, seed))
        return digests


def _parts(body: bytes) -> Iterator[memoryview]:
    """The fields of a serialised export request, one for each resource, tags and all.

    Bytes of anything else are one part.
    """
    view = memoryview(body)
    at = 0
    while at < len(view):
        start = at
        # Field 1 (resource spans, metrics or logs), length-delimited; others are not ours.
        if view[at] != 0x0A:
            yield view[start:]
            return
        at += 1
        length = shift = 0
        while at < len(view) and shift < 64:
            byte = view[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at = min(at + length, len(view))
        yield view[start:at]
