"""The durable log: one append, many cursors, retention; here on segment files."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from sidelight.collector.log.cursor import (
    CursorFile,
    Position,
    cursor_path,
    stored_cursor,
    stored_cursors,
)
from sidelight.collector.log.recent import Recent
from sidelight.collector.log.record import HEADER_BYTES, Record
from sidelight.collector.log.segment import (
    SegmentReader,
    SegmentWriter,
    find_tail,
    list_segments,
    path_of,
)
from sidelight.otlp.signals import SIGNALS, Signal

_logger = logging.getLogger(__name__)

# After a start nothing goes by age for so long, or for the age itself if that is less.
_GRACE_SECONDS = 3600.0


class LogError(Exception):
    """The log cannot be used; the message says which file and why."""


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
    """What a writer needs of a log; all calls block and are thread-safe."""

    def append(self, records: Sequence[Record]) -> None:
        """Store durably or raise `OSError`, in which case nothing is stored."""

    def probe(self) -> None:
        """Find out whether the disk takes data; raises `OSError` if it does not."""


class ReadableLog(Protocol):
    """What a reader needs of a log; all calls are thread-safe, and all but two may block."""

    def recent(self, position: Position) -> Entry | None:
        """The record at `position` if it is still in memory; never blocks."""

    def is_end(self, position: Position) -> bool:
        """Whether nothing durable is behind `position`; never blocks."""

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
        self._recent: Recent[Position, Entry] = Recent()
        # Sizes of the segments that are full; the newest one's is the writer's.
        self._sizes: dict[int, int] = {}
        self._committed: dict[str, Position] = {}
        self._cursor_files: dict[str, CursorFile] = {}
        # Ages by a clock that does not jump: when each segment was last written to.
        self._written: dict[int, float] = {}
        self._opened = time.monotonic()
        try:
            (directory / "cursors").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = own(directory)
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
            # A kill may have come before the disk had all of it; from here on it counts as stored.
            self._writer.sync()
        self._durable = Position(self._writer.first_sequence, self._writer.size)
        for segment in self._segments:
            found = path_of(self._directory, segment).stat()
            self._written[segment] = time.monotonic() - max(0.0, time.time() - found.st_mtime)
            self._sizes[segment] = found.st_size

    def _load_cursors(self) -> None:
        """All of them now, while nothing has been appended behind the tail they refer to."""
        for name, path in stored_cursors(self._directory):
            self._committed[name] = self._load_cursor(path, name)

    def _load_cursor(self, path: Path, name: str) -> Position:
        oldest = Position(self._segments[0], 0)
        try:
            position = stored_cursor(path)
        except (OSError, ValueError) as error:
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
        segment, offset = self._writer.first_sequence, self._writer.size
        self._writer.append(records, self._next_sequence)
        self._next_sequence += len(records)
        self._written[segment] = time.monotonic()
        self._durable = Position(segment, self._writer.size)
        for record in records:
            start = Position(segment, offset)
            offset += HEADER_BYTES + len(record.payload)
            entry = Entry(record, start, Position(segment, offset), 0)
            self._recent.put(start, entry, len(record.payload))

    def _roll(self) -> None:
        writer = SegmentWriter(self._directory, self._next_sequence)
        with self._lock:
            full, self._writer = self._writer, writer
            self._sizes[full.first_sequence] = full.size
            self._segments.append(writer.first_sequence)
            self._written[writer.first_sequence] = time.monotonic()
        with suppress(OSError):  # all of it is on the disk already
            full.close()

    def probe(self) -> None:
        """Find out whether the disk takes data; raises `OSError` if it does not.

        Like an append it comes from one thread at a time.
        """
        self._writer.probe()

    def recent(self, position: Position) -> Entry | None:
        """The record at `position` if it is still in memory."""
        return self._recent.get(position)

    def is_end(self, position: Position) -> bool:
        """Whether nothing durable is behind `position`."""
        return position == self._durable

    def read(self, position: Position) -> Entry | None:
        """The next intact durable record at or behind `position`, or None at the end."""
        if (entry := self._recent.get(position)) is not None:
            return entry
        skipped = 0
        while True:
            durable = self._durable
            with self._lock:
                segment = self._segment_at(position.segment)
                if segment != position.segment:
                    position = Position(segment, 0)
                reader = self._reader(segment)
                last = segment == durable.segment
                end = durable.offset if last else self._size(segment)
                following = self._segment_at(segment + 1)
            # Not under the lock: a destination that reads from a slow disk delays no other.
            found = reader.read(position.offset, end)
            if found is not None:
                return Entry(
                    found.record,
                    position,
                    Position(segment, found.end),
                    skipped + found.skipped_bytes,
                )
            if last or following == segment:
                return None
            skipped += max(0, end - position.offset)
            position = Position(following, 0)

    def _segment_at(self, wanted: int) -> int:
        """The wanted segment, or the oldest newer one where retention has taken it."""
        return next((s for s in self._segments if s >= wanted), self._segments[-1])

    def _size(self, segment: int) -> int:
        newest = self._writer
        return newest.size if segment == newest.first_sequence else self._sizes[segment]

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
        before = self._committed.get(name, position)
        self._committed[name] = position
        if position.segment > before.segment:
            self._forget_pages(before.segment)
        file = self._cursor_files.get(name)
        if file is None:
            path = cursor_path(self._directory, name)
            file = self._cursor_files.setdefault(name, CursorFile(path))
        file.store(position)

    def _forget_pages(self, segment: int) -> None:
        """A backlog that is read once must not push what others need out of the page cache."""
        with self._lock:
            reader = self._readers.get(segment)
        if reader is not None:
            reader.forget_pages()

    def size_bytes(self) -> int:
        """Bytes of all segments."""
        with self._lock:
            return sum(map(self._size, self._segments))

    def trim(
        self,
        cursors: Mapping[str, Container[Signal]],
        *,
        max_bytes: int,
        max_age_seconds: float,
        keep_seconds: float = 0.0,
        keep_bytes: int = 0,
    ) -> list[Dropped]:
        """Delete segments that every cursor has passed, that are too old, or over the cap.

        What every cursor has passed stays for `keep_seconds`, so that it can be sent again, as
        long as that is no more than `keep_bytes`. The newest segment always stays. Without
        cursors only age and cap count. Returns what each cursor lost of its signals by age or
        cap.
        """
        # Who did not come by for them yet is behind, and reads them from the file.
        self._recent.clear()
        dropped: list[Dropped] = []
        while len(self._segments) > 1:
            oldest, following = self._segments[0], self._segments[1]
            behind = [name for name in cursors if self.cursor(name).segment < following]
            passed = bool(cursors) and not behind
            age = time.monotonic() - self._written[oldest]
            over = self.size_bytes() > max_bytes
            if passed:
                kept = age <= keep_seconds and self._passed_bytes(cursors) <= keep_bytes
                if kept and not over:
                    break
            else:
                if over:
                    reason = "size"
                elif age > max_age_seconds and self._has_run_for(max_age_seconds):
                    reason = "age"
                else:
                    break
                for name in behind:
                    items = self._count_lost(name, oldest, cursors[name])
                    if items:
                        dropped.append(Dropped(name, items, reason))
            self._delete(oldest)
        return dropped

    def _has_run_for(self, max_age_seconds: float) -> bool:
        """Whether destinations had time to fetch what was old at the start: the machine may have
        started with a wrong clock.
        """
        return time.monotonic() - self._opened > min(max_age_seconds, _GRACE_SECONDS)

    def _passed_bytes(self, cursors: Iterable[str]) -> int:
        """Bytes of the segments that every cursor has passed."""
        slowest = min(self.cursor(name).segment for name in cursors)
        with self._lock:
            return sum(self._size(each) for each in self._segments[:-1] if each < slowest)

    def _count_lost(self, name: str, segment: int, signals: Container[Signal]) -> int:
        position = self.cursor(name)
        offset = position.offset if position.segment == segment else 0
        with self._lock:
            reader, size = self._reader(segment), self._size(segment)
        headers = (header for _, header in reader.headers(offset, size))
        return sum(each.items for each in headers if SIGNALS[each.signal] in signals)

    def _delete(self, segment: int) -> None:
        with self._lock:
            self._segments.remove(segment)
            self._written.pop(segment, None)
            self._sizes.pop(segment, None)
            self._readers.pop(segment, None)
            path_of(self._directory, segment).unlink()

    def close(self) -> None:
        """Close all files and let another process have the folder."""
        with self._lock:
            self._readers.clear()
            self._writer.close()
            for file in self._cursor_files.values():
                file.close()
            os.close(self._lock_file)


def is_behind(directory: Path, name: str) -> bool:
    """Whether the log folder, opened or not, holds records behind the stored cursor `name`.

    A cursor that was never stored is behind nothing, one that cannot be read behind all.
    """
    try:
        position = stored_cursor(cursor_path(directory, name))
    except OSError:
        return False
    except ValueError:
        position = Position(0, 0)
    segments = list_segments(directory)
    if not segments:
        return False
    return position < Position(segments[-1], path_of(directory, segments[-1]).stat().st_size)


def own(directory: Path) -> int:
    """Lock the folder until the file that is returned is closed, at the latest by the end of
    the process, however it ends. Raises `LogError` if another process has it.
    """
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
