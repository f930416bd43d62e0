"""The log of one folder: segment files, a file for each cursor, and a lock on all of it."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sidelight.collector.log.disk.cursor_files import (
    CursorFile,
    cursor_path,
    stored_cursor,
    stored_cursors,
)
from sidelight.collector.log.disk.header import HEADER_BYTES
from sidelight.collector.log.disk.recent_entries import RecentEntries
from sidelight.collector.log.disk.segment import (
    SegmentReader,
    SegmentWriter,
    find_tail,
    list_segments,
    path_of,
)
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from sidelight.collector.log.retention import (
    Deletion,
    Dropped,
    RetentionPolicy,
    SegmentState,
    deletions,
)
from sidelight.otlp.signals import SIGNALS, Signal

_logger = logging.getLogger(__name__)


class FolderLog:
    """A folder of segment files and a file for each cursor; all calls block.

    One process owns a folder (flock). Appends come from one thread at a time; readers may be
    many. Raises `LogError` on opening if the folder is another's or cannot be written.
    """

    def __init__(self, directory: Path, *, segment_bytes: int, number: int = 0) -> None:
        """`number`: which folder of the log it is; see `Position`."""
        self.directory = directory
        self.number = number
        self.size_bytes = 0
        """Bytes of all segments, kept up to date so that /metrics need not ask the disk."""
        self._segment_bytes = segment_bytes
        # Guards what is in memory, and is never held during a call that may wait for the disk:
        # deleting one large file can take seconds.
        self._lock = threading.Lock()
        self._readers: dict[int, SegmentReader] = {}
        self._recent = RecentEntries()
        # Sizes of the segments that are full; the newest one's is the writer's.
        self._sizes: dict[int, int] = {}
        self._committed: dict[str, Position] = {}
        self._cursor_files: dict[str, CursorFile] = {}
        # When each segment was last appended to, by a clock that does not jump.
        self._written: dict[int, float] = {}
        self._opened = time.monotonic()
        # No longer in the log, but deleting their files failed.
        self._undeleted: list[int] = []
        self._is_closed = False
        try:
            (directory / "cursors").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = lock_folder(directory)
            self._segments = list_segments(directory)
            self._open_tail()
            self._load_cursors()
        except OSError as error:
            where = error.filename or directory
            raise LogError(f"log folder {directory}: {where}: {error.strerror}") from error

    # ── opening ──────────────────────────────────────────────────────────────────────────

    def _open_tail(self) -> None:
        if not self._segments:
            self._segments = [1]
            self._writer = SegmentWriter(self.directory, 1)
            self._next_sequence = 1
        else:
            newest = self._segments[-1]
            tail = find_tail(path_of(self.directory, newest), newest)
            self._writer = SegmentWriter(self.directory, newest)
            if self._writer.size > tail.size:
                torn = self._writer.size - tail.size
                _logger.warning("log: cut a torn tail of %d bytes off %s", torn, self._writer.path)
                self._writer.cut(tail.size)
            self._next_sequence = tail.next_sequence
            # A kill may have come before the disk had all of it; from here on it counts as stored.
            self._writer.sync()
        self._durable = self._position(self._writer.first_sequence, self._writer.size)
        for segment in self._segments:
            stat = path_of(self.directory, segment).stat()
            self._written[segment] = time.monotonic() - max(0.0, time.time() - stat.st_mtime)
            self._sizes[segment] = stat.st_size
        self.size_bytes = sum(self._sizes.values())

    def _load_cursors(self) -> None:
        """All of them now, while nothing has been appended behind the tail they refer to."""
        for name, path in stored_cursors(self.directory):
            self._committed[name] = self._load_cursor(path, name)

    def _load_cursor(self, path: Path, name: str) -> Position:
        try:
            position = stored_cursor(path)._replace(folder=self.number)
        except (OSError, ValueError) as error:
            _logger.warning(
                "log: the cursor of %s is unreadable, restarting from the oldest record: %s",
                name,
                error,
            )
            return self._oldest
        if position.segment > self._durable.segment or position.offset < 0:
            _logger.warning(
                "log: the cursor of %s is not of this log, restarting from the oldest record", name
            )
            return self._oldest
        if position > self._durable:
            # The tail it had passed was damaged and is cut: what comes next is new.
            return self._durable
        return position

    def _position(self, segment: int, offset: int) -> Position:
        return Position(self.number, segment, offset)

    @property
    def _oldest(self) -> Position:
        return self._position(self._segments[0], 0)

    # ── appending ────────────────────────────────────────────────────────────────────────

    @property
    def end(self) -> Position:
        """Behind the newest durable record."""
        return self._durable

    def append(self, records: Sequence[Record]) -> None:
        """Store `records` and wait for the disk; raises `OSError` if it fails.

        Then nothing of `records` is stored.
        """
        if self._writer.size >= self._segment_bytes:
            self._roll()
        segment, offset = self._writer.first_sequence, self._writer.size
        self._writer.append(records, self._next_sequence)
        self._next_sequence += len(records)
        self._written[segment] = time.monotonic()
        self._durable = self._position(segment, self._writer.size)
        with self._lock:
            self.size_bytes += self._writer.size - offset
        for record in records:
            start = self._position(segment, offset)
            offset += HEADER_BYTES + len(record.payload)
            self._recent.put(Entry(record, start, self._position(segment, offset), 0))

    def _roll(self) -> None:
        writer = SegmentWriter(self.directory, self._next_sequence)
        with self._lock:
            full, self._writer = self._writer, writer
            self._sizes[full.first_sequence] = full.size
            self._segments.append(writer.first_sequence)
            self._written[writer.first_sequence] = time.monotonic()
        with suppress(OSError):  # all of it is on the disk already
            full.close()

    def probe(self) -> None:
        """Check whether the disk takes data; raises `OSError` if it does not.

        Like an append it comes from one thread at a time.
        """
        self._writer.probe()

    # ── reading ──────────────────────────────────────────────────────────────────────────

    def recent(self, position: Position) -> Entry | None:
        """The record at `position` if it is still in memory; never blocks."""
        return self._recent.get(position)

    def read(self, position: Position) -> Entry | None:
        """The next intact durable record at or behind `position`, or None at the end."""
        if (entry := self._recent.get(position)) is not None:
            return entry
        skipped = 0
        while not self._is_closed:
            durable = self._durable
            with self._lock:
                segment = self._segment_at(position.segment)
                if segment != position.segment:
                    position = self._position(segment, 0)
                last = segment == durable.segment
                end = durable.offset if last else self._size(segment)
                following = self._segment_at(segment + 1)
            # Not under the lock: a destination that reads from a slow disk delays no other.
            reader = self._reader(segment)
            if reader is None:
                continue
            stored = reader.read(position.offset, end)
            if stored is not None:
                return Entry(
                    stored.record,
                    position,
                    self._position(segment, stored.end),
                    skipped + stored.skipped_bytes,
                )
            if last or following == segment:
                return None
            skipped += max(0, end - position.offset)
            position = self._position(following, 0)
        return None

    def _segment_at(self, wanted: int) -> int:
        """The wanted segment, or the oldest newer one where retention has deleted it."""
        return next((s for s in self._segments if s >= wanted), self._segments[-1])

    def _size(self, segment: int) -> int:
        newest = self._writer
        return newest.size if segment == newest.first_sequence else self._sizes[segment]

    def _reader(self, segment: int) -> SegmentReader | None:
        """The segment's reader, or None if retention has just deleted it. Raises `OSError`."""
        reader = self._readers.get(segment)
        if reader is not None:
            return reader
        try:
            reader = SegmentReader(path_of(self.directory, segment))
        except FileNotFoundError:
            if segment in self._segments:
                raise
            return None
        with self._lock:
            if segment in self._segments:
                reader = self._readers.setdefault(segment, reader)
        return reader

    # ── cursors ──────────────────────────────────────────────────────────────────────────

    def committed(self, name: str) -> Position:
        """The committed position of `name`; a new or unreadable one begins at the oldest record."""
        return self._committed.setdefault(name, self._oldest)

    def commit(self, name: str, position: Position) -> None:
        """Remember, atomically, that `name` is done with everything before `position`.

        Raises `OSError` if it cannot be written; this process remembers it all the same.
        """
        if self._is_closed:
            return
        before = self._committed.get(name, position)
        self._committed[name] = position
        if position.segment > before.segment:
            self._forget_pages(before.segment)
        file = self._cursor_files.get(name)
        if file is None:
            path = cursor_path(self.directory, name)
            file = self._cursor_files.setdefault(name, CursorFile(path))
        file.store(position)

    def _forget_pages(self, segment: int) -> None:
        """A backlog that is read once must not push what others need out of the page cache."""
        reader = self._readers.get(segment)
        if reader is not None:
            reader.forget_pages()

    def is_read_by(self, name: str) -> bool:
        """Whether nothing is left in the folder for the cursor. Raises `OSError`."""
        return self.read(self.committed(name)) is None

    # ── retention ────────────────────────────────────────────────────────────────────────

    def trim(
        self, wanted: Mapping[str, Container[Signal]], policy: RetentionPolicy
    ) -> list[Dropped]:
        """Delete the segments that `policy` lets go of.

        `wanted` holds the subscriptions to wait for and the signals each reads. Returns what
        each of them lost.
        """
        # A subscription that has not read them by now is behind, and reads from the file.
        self._recent.clear()
        cursors = {name: self.committed(name).segment for name in wanted}
        now = time.monotonic()
        with self._lock:
            segments = [
                SegmentState(segment, self._size(segment), now - self._written[segment])
                for segment in self._segments
            ]
        chosen = deletions(segments, cursors, policy, uptime_seconds=now - self._opened)
        dropped = [loss for deletion in chosen for loss in self._losses(deletion, wanted)]
        self._delete([deletion.segment for deletion in chosen])
        return dropped

    def _losses(self, deletion: Deletion, wanted: Mapping[str, Container[Signal]]) -> list[Dropped]:
        losses = []
        if deletion.reason is not None:
            for name in deletion.behind:
                items = self._count_unread(name, deletion.segment, wanted[name])
                if items:
                    losses.append(Dropped(name, items, deletion.reason))
        return losses

    def _count_unread(self, name: str, segment: int, signals: Container[Signal]) -> int:
        position = self.committed(name)
        offset = position.offset if position.segment == segment else 0
        reader = self._reader(segment)
        assert reader is not None, "only this thread deletes"
        headers = (header for _, header in reader.headers(offset, self._size(segment)))
        return sum(header.items for header in headers if SIGNALS[header.signal] in signals)

    def _delete(self, segments: Sequence[int]) -> None:
        readers = []
        with self._lock:
            for segment in segments:
                self._segments.remove(segment)
                self._written.pop(segment, None)
                self.size_bytes -= self._sizes.pop(segment)
                readers.append(self._readers.pop(segment, None))
        # Closing the last descriptor of a deleted file is what frees its blocks, and as slow.
        del readers
        failed = []
        for segment in (*self._undeleted, *segments):
            if self._is_closed:
                # The folder may be another process's by now.
                return
            path = path_of(self.directory, segment)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                failed.append(segment)
                if segment not in self._undeleted:
                    _logger.error("log: %s cannot be deleted, retrying: %s", path, error.strerror)
        self._undeleted = failed

    def close(self) -> None:
        """Close all files and let another process have the folder."""
        self._is_closed = True
        with self._lock:
            readers = list(self._readers.values())
            self._readers.clear()
        del readers
        self._writer.close()
        for file in self._cursor_files.values():
            file.close()
        os.close(self._lock_file)


def lock_folder(directory: Path) -> int:
    """Lock the folder until the returned file descriptor is closed, at the latest by the end of
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
