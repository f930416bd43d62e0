"""A log folder seen from outside: read only, without its lock, opened by a collector or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sidelight.collector.log.cursor import Position, stored_cursor, stored_cursors
from sidelight.collector.log.record import HEADER_BYTES, Header, Record
from sidelight.collector.log.segment import SegmentReader, list_segments, path_of
from sidelight.otlp.signals import SIGNALS, Signal


class Stored(NamedTuple):
    """A record's place and header; its payload has not been looked at."""

    start: Position
    end: Position
    header: Header

    @property
    def signal(self) -> Signal:
        """The record's signal."""
        return SIGNALS[self.header.signal]


class ReadRecord(NamedTuple):
    """A record whose checksum is right, and its place."""

    start: Position
    end: Position
    record: Record


@dataclass(slots=True)
class Segment:
    """What one segment holds. Times are Unix, in nanoseconds; None without records.

    `damaged_bytes` belong to no record. `unfinished_bytes` stand at the end of the newest
    segment: they are being written, or a crash has torn them and the next start cuts them.
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
class Cursor:
    """How far a reader has come and what lies before it; `position` is None if unreadable."""

    name: str
    position: Position | None
    records: int = 0
    items: Counter[Signal] = field(default_factory=Counter)
    oldest_ns: int | None = None
    """When the oldest record that it has yet to read was stored."""


def segments(directory: Path, *, check: bool) -> list[Segment]:
    """Every segment, oldest first. With `check` every byte is read and its checksum compared;
    without, only headers are, and damage in a payload is not seen. Raises `OSError`.
    """
    found = []
    numbers = list_segments(directory)
    for number in numbers:
        opened = _open(directory, number)
        if opened is None:
            continue
        reader, size = opened
        segment = Segment(number, path_of(directory, number), size)
        covered = 0
        if check:
            for read in _read(reader, number, 0, size):
                segment.damaged_bytes += read.start.offset - covered
                covered = read.end.offset
                segment._add(read.record.signal, read.record.items, read.record.time_ns)
        else:
            for stored in _headers(reader, number, 0, size):
                segment.damaged_bytes += stored.start.offset - covered
                covered = stored.end.offset
                segment._add(stored.signal, stored.header.items, stored.header.time_ns)
        whole = size
        if number == numbers[-1]:
            whole = covered
            while (end := reader.full_length(whole, size)) is not None:
                whole = end
        segment.damaged_bytes += whole - covered
        segment.unfinished_bytes = size - whole
        found.append(segment)
    return found


def headers(directory: Path, start: Position, end: Position | None = None) -> Iterator[Stored]:
    """Every record from `start` on (up to `end`), by its header. Raises `OSError`."""
    for number in list_segments(directory):
        if number < start.segment or (end is not None and number > end.segment):
            continue
        opened = _open(directory, number)
        if opened is not None:
            reader, size = opened
            offset = start.offset if number == start.segment else 0
            stop = min(size, end.offset) if end is not None and number == end.segment else size
            yield from _headers(reader, number, offset, stop)


def records(
    directory: Path, start: Position, *, only_segment: int | None = None
) -> Iterator[ReadRecord]:
    """Every intact record from `start` on, or those of one segment. Raises `OSError`."""
    for number in list_segments(directory):
        if number < start.segment or (only_segment is not None and number != only_segment):
            continue
        opened = _open(directory, number)
        if opened is not None:
            reader, size = opened
            offset = start.offset if number == start.segment else 0
            yield from _read(reader, number, offset, size)


def newest(directory: Path, most_bytes: int) -> Iterator[Record]:
    """The newest intact records, as many as have `most_bytes` together. Raises `OSError`."""
    places: list[Stored] = []
    total = 0
    for number in reversed(list_segments(directory)):
        opened = _open(directory, number)
        if opened is None:
            continue
        reader, size = opened
        for stored in reversed(list(_headers(reader, number, 0, size))):
            total += stored.header.length
            if total > most_bytes:
                break
            places.append(stored)
        if total > most_bytes:
            break
    if places:
        for read in records(directory, places[-1].start):
            yield read.record


def cursors(directory: Path) -> list[Cursor]:
    """Every cursor and its lag. Raises `OSError`."""
    found = []
    for name, path in stored_cursors(directory):
        try:
            cursor = Cursor(name, _steady(path))
        except FileNotFoundError:
            continue
        for stored in headers(directory, cursor.position or Position(0, 0)):
            cursor.records += 1
            cursor.items[stored.signal] += stored.header.items
            if cursor.oldest_ns is None:
                cursor.oldest_ns = stored.header.time_ns
        found.append(cursor)
    return found


def _steady(path: Path) -> Position | None:
    """The position in a cursor's file, or None if it makes no sense also when read again: a
    collector may be writing over it. Raises `OSError`.
    """
    for _ in range(3):
        with suppress(ValueError):
            return stored_cursor(path)
    return None


def _open(directory: Path, number: int) -> tuple[SegmentReader, int] | None:
    """A reader and the size, or None if retention has taken the segment meanwhile."""
    path = path_of(directory, number)
    try:
        return SegmentReader(path), path.stat().st_size
    except FileNotFoundError:
        return None


def _headers(reader: SegmentReader, number: int, offset: int, size: int) -> Iterator[Stored]:
    for at, header in reader.headers(offset, size):
        stop = at + HEADER_BYTES + header.length
        if stop <= size:
            yield Stored(Position(number, at), Position(number, stop), header)


def _read(reader: SegmentReader, number: int, offset: int, size: int) -> Iterator[ReadRecord]:
    while (found := reader.read(offset, size)) is not None:
        start = Position(number, offset + found.skipped_bytes)
        offset = found.end
        yield ReadRecord(start, Position(number, offset), found.record)
