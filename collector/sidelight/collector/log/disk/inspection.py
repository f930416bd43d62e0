"""A log folder seen from outside: read only, without its lock, opened by a collector or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sidelight.collector.log.disk.cursor_files import stored_cursor, stored_cursors
from sidelight.collector.log.disk.header import HEADER_BYTES, Header
from sidelight.collector.log.disk.segment import SegmentReader, list_segments, path_of
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import SIGNALS, Signal

_BEGINNING = Position(0, 0, 0)


class StoredHeader(NamedTuple):
    """A record's place and header; its payload was not read. `time_ns`: stored then (Unix)."""

    start: Position
    end: Position
    signal: Signal
    items: int
    time_ns: int
    payload_bytes: int


@dataclass(slots=True)
class SegmentSummary:
    """What one segment holds. Times are Unix, in nanoseconds; None without records.

    `damaged_bytes` belong to no record. `unfinished_bytes` are at the end of the newest
    segment: they are being written, or a crash tore them and the next start cuts them.
    """

    first_sequence: int
    path: Path
    size_bytes: int
    records: int = 0
    items: Counter[Signal] = field(default_factory=Counter)
    first_ns: int | None = None
    last_ns: int | None = None
    damaged_bytes: int = 0
    unfinished_bytes: int = 0

    def _add(self, signal: Signal, items: int, time_ns: int) -> None:
        self.records += 1
        self.items[signal] += items
        self.first_ns = time_ns if self.first_ns is None else min(self.first_ns, time_ns)
        self.last_ns = time_ns if self.last_ns is None else max(self.last_ns, time_ns)


@dataclass(slots=True)
class Lag:
    """What a subscription has yet to read; `position` is None if its cursor is unreadable."""

    subscription: str
    position: Position | None
    records: int = 0
    items: Counter[Signal] = field(default_factory=Counter)
    oldest_ns: int | None = None
    """When the oldest record that it has yet to read was stored."""


def segments(directory: Path, *, check: bool) -> list[SegmentSummary]:
    """Every segment, oldest first. With `check` every byte is read and its checksum compared;
    without, only headers are, and damage in a payload is not seen. Raises `OSError`.
    """
    summaries = []
    numbers = list_segments(directory)
    for number in numbers:
        opened = _open(directory, number)
        if opened is None:
            continue
        reader, size = opened
        summary = SegmentSummary(number, path_of(directory, number), size)
        covered = 0
        if check:
            for entry in _entries(reader, number, 0, size):
                summary.damaged_bytes += entry.start.offset - covered
                covered = entry.end.offset
                summary._add(entry.record.signal, entry.record.items, entry.record.time_ns)
        else:
            for header in _headers(reader, number, 0, size):
                summary.damaged_bytes += header.start.offset - covered
                covered = header.end.offset
                summary._add(header.signal, header.items, header.time_ns)
        whole = size
        if number == numbers[-1]:
            # Only the newest is appended to: at the end of any other, bytes are damage.
            whole = covered
            while (end := reader.full_length(whole, size)) is not None:
                whole = end
        summary.damaged_bytes += whole - covered
        summary.unfinished_bytes = size - whole
        summaries.append(summary)
    return summaries


def headers(
    directory: Path, start: Position | None = None, end: Position | None = None
) -> Iterator[StoredHeader]:
    """Every record from `start` on (up to `end`), by its header. Raises `OSError`."""
    start = start or _BEGINNING
    for number in list_segments(directory):
        if number < start.segment or (end is not None and number > end.segment):
            continue
        opened = _open(directory, number)
        if opened is not None:
            reader, size = opened
            offset = start.offset if number == start.segment else 0
            stop = min(size, end.offset) if end is not None and number == end.segment else size
            yield from _headers(reader, number, offset, stop)


def entries(
    directory: Path, start: Position | None = None, *, only_segment: int | None = None
) -> Iterator[Entry]:
    """Every intact record from `start` on, or those of one segment. Raises `OSError`."""
    start = start or _BEGINNING
    for number in list_segments(directory):
        if number < start.segment or (only_segment is not None and number != only_segment):
            continue
        opened = _open(directory, number)
        if opened is not None:
            reader, size = opened
            offset = start.offset if number == start.segment else 0
            yield from _entries(reader, number, offset, size)


def newest(directory: Path, max_bytes: int) -> Iterator[Record]:
    """The newest intact records, oldest first, of at most `max_bytes` together.

    Raises `OSError`.
    """
    first: Position | None = None
    total = 0
    for number in reversed(list_segments(directory)):
        opened = _open(directory, number)
        if opened is None:
            continue
        reader, size = opened
        # Backwards by headers, so that a log of gigabytes costs no more than its newest part.
        for header in reversed(list(_headers(reader, number, 0, size))):
            total += header.payload_bytes
            if total > max_bytes:
                break
            first = header.start
        if total > max_bytes:
            break
    if first is not None:
        for entry in entries(directory, first):
            yield entry.record


def lags(directory: Path) -> list[Lag]:
    """What every subscription with a cursor in the folder has yet to read. Raises `OSError`."""
    lags = []
    for name, path in stored_cursors(directory):
        try:
            lag = Lag(name, _steady(path))
        except FileNotFoundError:
            # A leftover was delivered and removed since.
            continue
        for header in headers(directory, lag.position):
            lag.records += 1
            lag.items[header.signal] += header.items
            if lag.oldest_ns is None:
                lag.oldest_ns = header.time_ns
        lags.append(lag)
    return lags


def _steady(path: Path) -> Position | None:
    """The position in a cursor's file, or None if it is not valid when read again either: a
    collector may be overwriting it. Raises `OSError`.
    """
    for _ in range(3):
        # An overwrite takes microseconds, so that the next look sees it whole.
        with suppress(ValueError):
            return stored_cursor(path)
    return None


def _open(directory: Path, number: int) -> tuple[SegmentReader, int] | None:
    """A reader and the size, or None if retention has deleted the segment since."""
    path = path_of(directory, number)
    try:
        return SegmentReader(path), path.stat().st_size
    except FileNotFoundError:
        return None


def _headers(reader: SegmentReader, number: int, offset: int, size: int) -> Iterator[StoredHeader]:
    for at, header in reader.headers(offset, size):
        stop = at + HEADER_BYTES + header.length
        if stop <= size:
            yield _stored(number, at, stop, header)


def _stored(number: int, start: int, stop: int, header: Header) -> StoredHeader:
    return StoredHeader(
        Position(0, number, start),
        Position(0, number, stop),
        SIGNALS[header.signal],
        header.items,
        header.time_ns,
        header.length,
    )


def _entries(reader: SegmentReader, number: int, offset: int, size: int) -> Iterator[Entry]:
    while (stored := reader.read(offset, size)) is not None:
        start = Position(0, number, offset + stored.skipped_bytes)
        offset = stored.end
        yield Entry(stored.record, start, Position(0, number, offset), stored.skipped_bytes)
