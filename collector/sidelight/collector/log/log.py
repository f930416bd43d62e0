"""The durable log: one append, many cursors, retention; here on segment files."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from sidelight.collector.log.record import SIGNALS, Record, Signal
from sidelight.collector.log.segment import (
    SegmentReader,
    SegmentWriter,
    find_tail,
    list_segments,
    path_of,
)

_logger = logging.getLogger(__name__)

_CURSOR_SUFFIX = ".json"


class LogError(Exception):
    """The log cannot be used; the message says which file and why."""


class Position(NamedTuple):
    """A place between two records: the segment's first sequence and an offset in its file."""

    segment: int
    offset: int


class Entry(NamedTuple):
    """A record, where it stood, where the next begins, and damaged bytes skipped before it."""

    record: Record
    start: Position
    end: Position
    skipped_bytes: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """What retention took away from a cursor that had not come by yet."""

    cursor: str
    items: int
    reason: str


class Log(Protocol):
    """What the rest of the collector needs of a log; all calls block and are thread-safe."""

    def append(self, records: Sequence[Record]) -> None:
        """Store durably or raise `OSError`, in which case nothing is stored."""

    def probe(self) -> None:
        """Find out whether the disk takes data; raises `OSError` if it does not."""

    def read(self, position: Position) -> Entry | None:
        """The next durable record at or behind `position`; None at the end."""

    def cursor(self, name: str) -> Position:
        """The committed position of a reader; a new one begins at the oldest record."""

    def commit(self, name: str, position: Position) -> None:
        """Remember that `name` has done with everything before `position`."""


class SegmentLog:
    """The embedded log: a folder of segment files and a file for each cursor.

    One process owns a folder (flock). Appends come from one thread at a time; readers may be
    many. Raises `LogError` on opening if the folder is another's or cannot be written.
    """

    def __init__(self, directory: Path, *, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._readers: dict[int, SegmentReader] = {}
        self._committed: dict[str, Position] = {}
        # Ages by a clock that does not jump: when each segment was last written to.
        self._written: dict[int, float] = {}
        try:
            (directory / "cursors").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = _own(directory)
            self._segments = list_segments(directory)
            self._open_tail()
            self._load_cursors()
        except OSError as error:
            where = error.filename or directory
            raise LogError(f"log folder {directory}: {where}: {error.strerror}") from error

    def _open_tail(self) -> None:
        if not self._segments:
            self._segments = [1]
            self._writer = SegmentWriter(self._directory, 1)
            self._next_sequence = 1
        else:
            newest = self._segments[-1]
            tail = find_tail(path_of(self._directory, newest), newest)
            self._writer = SegmentWriter(self._directory, newest)
            if self._writer.size > tail.size:
                torn = self._writer.size - tail.size
                _logger.warning("log: cut a torn tail of %d bytes off %s", torn, self._writer.path)
                self._writer.cut(tail.size)
            self._next_sequence = tail.next_sequence
        self._durable = Position(self._writer.first_sequence, self._writer.size)
        for segment in self._segments:
            age = time.time() - path_of(self._directory, segment).stat().st_mtime
            self._written[segment] = time.monotonic() - max(0.0, age)

    def _load_cursors(self) -> None:
        """All of them now, while nothing has been appended behind the tail they refer to."""
        for path in (self._directory / "cursors").glob(f"*{_CURSOR_SUFFIX}"):
            name = path.name.removesuffix(_CURSOR_SUFFIX)
            self._committed[name] = self._load_cursor(path, name)

    def _load_cursor(self, path: Path, name: str) -> Position:
        oldest = Position(self._segments[0], 0)
        try:
            stored = json.loads(path.read_text())
            position = Position(int(stored["segment"]), int(stored["offset"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            _logger.warning("log: cursor %s is unreadable, begins anew: %s", name, error)
            return oldest
        if position.segment > self._durable.segment or position.offset < 0:
            _logger.warning("log: cursor %s does not belong to this log, begins anew", name)
            return oldest
        if position > self._durable:
            # The tail it had passed was damaged and is cut: what comes next is new.
            return self._durable
        return position

    @property
    def end(self) -> Position:
        """Behind the newest durable record."""
        return self._durable

    def append(self, records: Sequence[Record]) -> None:
        """Store `records` and wait for the disk; raises `OSError` if it refuses."""
        if self._writer.size >= self._segment_bytes:
            self._roll()
        self._writer.append(records, self._next_sequence)
        self._next_sequence += len(records)
        self._written[self._writer.first_sequence] = time.monotonic()
        self._durable = Position(self._writer.first_sequence, self._writer.size)

    def _roll(self) -> None:
        writer = SegmentWriter(self._directory, self._next_sequence)
        with self._lock:
            full, self._writer = self._writer, writer
            self._segments.append(writer.first_sequence)
            self._written[writer.first_sequence] = time.monotonic()
        with suppress(OSError):  # all of it is on the disk already
            full.close()

    def probe(self) -> None:
        """Find out whether the disk takes data; raises `OSError` if it does not.

        Like an append it comes from one thread at a time.
        """
        self._writer.probe()

    def read(self, position: Position) -> Entry | None:
        """The next intact durable record at or behind `position`, or None at the end."""
        skipped = 0
        while True:
            durable = self._durable
            with self._lock:
                segment = self._segment_at(position.segment)
                if segment != position.segment:
                    position = Position(segment, 0)
                reader = self._reader(segment)
                last = segment == durable.segment
                end = durable.offset if last else path_of(self._directory, segment).stat().st_size
                found = reader.read(position.offset, end)
                if found is not None:
                    return Entry(
                        found.record,
                        position,
                        Position(segment, found.end),
                        skipped + found.skipped_bytes,
                    )
                if last or segment == self._segments[-1]:
                    return None
                skipped += max(0, end - position.offset)
                position = Position(self._segments[self._segments.index(segment) + 1], 0)

    def _segment_at(self, wanted: int) -> int:
        """The wanted segment, or the oldest newer one where retention has taken it."""
        return next((s for s in self._segments if s >= wanted), self._segments[-1])

    def _reader(self, segment: int) -> SegmentReader:
        if segment not in self._readers:
            self._readers[segment] = SegmentReader(path_of(self._directory, segment))
        return self._readers[segment]

    def cursor(self, name: str) -> Position:
        """The committed position of `name`; a new or unreadable one begins at the oldest record."""
        return self._committed.setdefault(name, Position(self._segments[0], 0))

    def commit(self, name: str, position: Position) -> None:
        """Remember, atomically, that `name` has done with everything before `position`.

        Raises `OSError` if it cannot be written; this process remembers it all the same.
        """
        self._committed[name] = position
        path = self._cursor_path(name)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(position._asdict()))
        temporary.replace(path)

    def _cursor_path(self, name: str) -> Path:
        return self._directory / "cursors" / f"{name}{_CURSOR_SUFFIX}"

    def size_bytes(self) -> int:
        """Bytes of all segments."""
        with self._lock:
            return sum(path_of(self._directory, s).stat().st_size for s in self._segments)

    def trim(
        self, cursors: Mapping[str, Container[Signal]], *, max_bytes: int, max_age_seconds: float
    ) -> list[Dropped]:
        """Delete segments that every cursor has passed, that are too old, or over the cap.

        The newest segment always stays. Without cursors only age and cap count. Returns what
        each cursor lost of its signals by age or cap.
        """
        dropped: list[Dropped] = []
        while len(self._segments) > 1:
            oldest, following = self._segments[0], self._segments[1]
            behind = [name for name in cursors if self.cursor(name).segment < following]
            passed = bool(cursors) and not behind
            if not passed:
                if self.size_bytes() > max_bytes:
                    reason = "size"
                elif time.monotonic() - self._written[oldest] > max_age_seconds:
                    reason = "age"
                else:
                    break
                for name in behind:
                    items = self._count_lost(name, oldest, cursors[name])
                    if items:
                        dropped.append(Dropped(name, items, reason))
            self._delete(oldest)
        return dropped

    def _count_lost(self, name: str, segment: int, signals: Container[Signal]) -> int:
        position = self.cursor(name)
        offset = position.offset if position.segment == segment else 0
        path = path_of(self._directory, segment)
        with self._lock:
            headers = self._reader(segment).headers(offset, path.stat().st_size)
            return sum(each.items for each in headers if SIGNALS[each.signal] in signals)

    def _delete(self, segment: int) -> None:
        with self._lock:
            self._segments.remove(segment)
            self._written.pop(segment, None)
            reader = self._readers.pop(segment, None)
            if reader is not None:
                reader.close()
            path_of(self._directory, segment).unlink()

    def close(self) -> None:
        """Close all files and let another process have the folder."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            self._writer.close()
            os.close(self._lock_file)


def is_behind(directory: Path, name: str) -> bool:
    """Whether the log folder, opened or not, holds records behind the stored cursor `name`.

    A cursor that was never stored is behind nothing, one that cannot be read behind all.
    """
    try:
        stored = json.loads((directory / "cursors" / f"{name}{_CURSOR_SUFFIX}").read_text())
        position = Position(int(stored["segment"]), int(stored["offset"]))
    except OSError:
        return False
    except (ValueError, KeyError, TypeError):
        position = Position(0, 0)
    segments = list_segments(directory)
    if not segments:
        return False
    return position < Position(segments[-1], path_of(directory, segments[-1]).stat().st_size)


def _own(directory: Path) -> int:
    """Lock the folder; it is freed when the process ends, however it ends."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise LogError(
            f"log folder {directory} is in use by another running sidelight: "
            "stop that one, or set log.directory to another folder"
        ) from error
    return fd
