"""The log of one folder: segment files, a file for each cursor, and a lock on all of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sidelight.base.files import make_folder
from sidelight.base.writable import sentence
from sidelight.collector.log.disk.folder_cursors import FolderCursors
from sidelight.collector.log.disk.folder_lock import FolderLock
from sidelight.collector.log.disk.format import check_format, write_format
from sidelight.collector.log.disk.header import HEADER_BYTES
from sidelight.collector.log.disk.recent_entries import RecentEntries
from sidelight.collector.log.disk.segment import SUFFIX, SegmentWriter, find_tail, path_of
from sidelight.collector.log.disk.segments import Segments
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from sidelight.collector.log.retention import Deletion, Dropped, RetentionPolicy, deletions
from sidelight.otlp.signals import SIGNALS, Signal

_logger = logging.getLogger(__name__)

# A full segment. It takes a fraction of a second, for which senders wait once.
_MAX_AT_ONCE_BYTES = 64 * 1024 * 1024


class FolderLog:
    """A folder of segment files and a file for each cursor; all calls block.

    One process owns a folder (flock). Appends come from one thread at a time; readers may be
    many. Raises `LogError` on opening if the folder is another's, cannot be written, or has a
    format that this version cannot read.
    """

    def __init__(self, directory: Path, *, segment_bytes: int, number: int = 0) -> None:
        """`number`: which folder of the log it is; see `Position`."""
        self.directory = directory
        self.number = number
        self._segment_bytes = segment_bytes
        self._recent = RecentEntries()
        self._opened = time.monotonic()
        # Segments are deleted, and written again, by one thread at a time.
        self._maintenance = threading.Lock()
        # Segments that are lost and not yet counted: numbers and bytes.
        self._lost: list[tuple[int, int]] = []
        self._is_closed = False
        try:
            make_folder(directory)
            self._lock = FolderLock(directory)
            try:
                self._open()
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise LogError(f"log folder {sentence(directory, error, 'log.directory')}") from error

    # ── opening ──────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        # Before anything is changed: a newer version's files are for that version alone.
        has_format = check_format(self.directory)
        for unfinished in self.directory.glob(f"*{SUFFIX}.tmp"):
            unfinished.unlink()
        self._segments = Segments(self.directory)
        self._open_tail()
        if not has_format:
            # On a full disk the start must succeed: destinations that take data make room.
            with suppress(OSError):
                write_format(self.directory)
        self._cursors = FolderCursors(self.directory, may_write=lambda: self._lock.is_in_place())
        self._cursors.load(oldest=self._oldest, end=self._durable)

    def _open_tail(self) -> None:
        damaged_bytes = 0
        if not self._segments.numbers:
            self._writer = SegmentWriter(self.directory, 1)
            self._next_sequence = 1
        else:
            newest = self._segments.numbers[-1]
            tail = find_tail(path_of(self.directory, newest), newest)
            self._writer = SegmentWriter(self.directory, newest)
            self._next_sequence = tail.next_sequence
            damaged_bytes = self._writer.size - tail.size
            if damaged_bytes and tail.is_torn:
                _logger.warning(
                    "log: cut a torn tail of %d bytes off %s", damaged_bytes, self._writer.path
                )
                self._writer.cut(tail.size)
                damaged_bytes = 0
            # A kill may have come before the disk had all of it; from here on it counts as stored.
            self._writer.sync()
        self._segments.start(self._writer)
        if damaged_bytes:
            # It may have been acknowledged: readers skip it and count it, and it is not cut.
            self._begin_segment()
        else:
            self._durable = self._position(self._writer.first_sequence, self._writer.size)

    def _position(self, segment: int, offset: int) -> Position:
        return Position(self.number, segment, offset)

    @property
    def _oldest(self) -> Position:
        return self._position(self._segments.numbers[0], 0)

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments; does not ask the disk."""
        return self._segments.size_bytes

    # ── appending ────────────────────────────────────────────────────────────────────────

    @property
    def end(self) -> Position:
        """Behind the newest durable record."""
        return self._durable

    def append(self, records: Sequence[Record]) -> None:
        """Store `records` and wait for the disk.

        They are on the disk in a file that has its name: one that was deleted, renamed or
        unmounted is replaced by a new segment first. Raises `OSError` if the disk fails and
        `LogError` if the folder cannot be had again; then nothing of `records` is stored.
        """
        if self._writer.size >= self._segment_bytes:
            self._begin_segment()
        offset = self._writer.size
        self._writer.append(records, self._next_sequence)
        if not self.is_in_place():
            # They are written again: a copy of the file must not hold them as well.
            self._writer.cut(offset)
            self._replace_segment()
            offset = 0
            self._writer.append(records, self._next_sequence)
            if not self.is_in_place():
                self._writer.cut(offset)
                raise LogError(f"log folder {self.directory} is taken away while it is written")
        self._next_sequence += len(records)
        segment = self._writer.first_sequence
        self._segments.grew(self._writer.size - offset)
        self._durable = self._position(segment, self._writer.size)
        for record in records:
            start = self._position(segment, offset)
            offset += HEADER_BYTES + len(record.payload)
            self._recent.put(Entry(record, start, self._position(segment, offset), 0))

    def _replace_segment(self) -> None:
        """Begin a new segment because the newest is gone, or its folder."""
        gone, has_folder = self._writer.path, self._lock.is_in_place()
        self._begin_segment()
        self._restore_at_once()
        if has_folder:
            _logger.error(
                "log: %s was deleted, renamed or changed while sidelight was running; new data "
                "goes into %s: stop sidelight before you change its log",
                gone,
                self._writer.path.name,
            )

    def _restore_at_once(self) -> None:
        """Write a little again before anything more is acknowledged; the rest is for `trim`."""
        # Not while that copies gigabytes: senders would wait for it.
        if self._maintenance.acquire(blocking=False):
            try:
                lost = self._segments.restore(self._is_passed, most_bytes=_MAX_AT_ONCE_BYTES)
                self._lost += lost
            finally:
                self._maintenance.release()

    def _begin_segment(self) -> None:
        """Append to a new segment from now on, in a folder that is made again if it is gone."""
        if not self._lock.is_in_place():
            self._reclaim()
        # Greater than that of an empty segment, which would have the same number.
        number = max(self._next_sequence, self._writer.first_sequence + 1)
        writer = SegmentWriter(self.directory, number)
        if writer.size:
            writer.close()
            raise LogError(f"{writer.path} is there already: another program writes to the log")
        self._next_sequence = number
        self._segments.add(writer)
        self._writer = writer
        self._durable = self._position(number, 0)

    def _reclaim(self) -> None:
        """Lock the folder that has the name now; raises `LogError` if it cannot be ours."""
        try:
            make_folder(self.directory)
            lock = FolderLock(self.directory)
        except OSError as error:
            raise LogError(
                f"log folder {self.directory} is gone or closed, and cannot be made again "
                f"({error.strerror}): mount, create or open it, and sidelight goes on by itself"
            ) from error
        try:
            has_format = check_format(self.directory)
            if self._segments.has_foreign_files():
                raise LogError(
                    f"log folder {self.directory} was replaced by the folder of another log: "
                    "restart sidelight to use that one, or put the former one back"
                )
            if not has_format:
                write_format(self.directory)
        except BaseException:
            lock.close()
            raise
        self._lock.close()
        self._lock = lock
        self._cursors.store_all()
        _logger.error(
            "log: folder %s or its lock was deleted, renamed or unmounted while sidelight was "
            "running; it is in use again: stop sidelight before you change its log",
            self.directory,
        )

    def is_in_place(self) -> bool:
        """Whether what is appended can be found under its name, and no other process can have
        the folder. Takes some microseconds.
        """
        return self._writer.is_in_place() and self._lock.is_in_place()

    def verify(self) -> None:
        """Begin a new segment if the newest is gone; like an append from one thread at a time.

        Raises `OSError` and `LogError` as `append` does.
        """
        if not self.is_in_place():
            self._replace_segment()

    def probe(self) -> None:
        """As `verify`, and check whether the disk takes data; raises `OSError` if it does not."""
        self.verify()
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
            segment, end, following = self._segments.span(
                position.segment, (durable.segment, durable.offset)
            )
            if segment != position.segment:
                position = self._position(segment, 0)
            # Not under the lock: a destination that reads from a slow disk delays no other.
            reader = self._segments.reader(segment)
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
            if segment == durable.segment or following == segment:
                return None
            skipped += max(0, end - position.offset)
            position = self._position(following, 0)
        return None

    # ── cursors ──────────────────────────────────────────────────────────────────────────

    def committed(self, name: str) -> Position:
        """The committed position of `name`; a new or unreadable one begins at the oldest record."""
        return self._cursors.committed(name, self._oldest)

    def commit(self, name: str, position: Position) -> None:
        """Remember, atomically, that `name` is done with everything before `position`.

        Raises `OSError` if it cannot be written; this process remembers it all the same.
        """
        if self._is_closed:
            return
        before = self.committed(name)
        if position.segment > before.segment:
            self._segments.forget_pages(before.segment)
        self._cursors.commit(name, position)

    def is_read_by(self, name: str) -> bool:
        """Whether nothing is left in the folder for the cursor. Raises `OSError`."""
        return self.read(self.committed(name)) is None

    # ── retention ────────────────────────────────────────────────────────────────────────

    def trim(
        self, wanted: Mapping[str, Container[Signal]], policy: RetentionPolicy
    ) -> list[Dropped]:
        """Delete the segments that `policy` lets go of, and write again those that were taken.

        `wanted` holds the subscriptions to wait for and the signals each reads. Returns what
        each of them lost.
        """
        # A subscription that has not read them by now is behind, and reads from the file.
        self._recent.clear()
        with self._maintenance:
            dropped = self._restore(wanted)
            cursors = {name: self.committed(name).segment for name in wanted}
            uptime_seconds = time.monotonic() - self._opened
            chosen = deletions(
                self._segments.states(), cursors, policy, uptime_seconds=uptime_seconds
            )
            dropped += [loss for deletion in chosen for loss in self._losses(deletion, wanted)]
            self._segments.delete([deletion.segment for deletion in chosen])
        return dropped

    def _restore(self, wanted: Mapping[str, Container[Signal]]) -> list[Dropped]:
        if not self._lock.is_in_place():
            return []
        self._cursors.restore()
        dropped = []
        cursors = {name: self.committed(name) for name in wanted}
        lost = [*self._lost, *self._segments.restore(self._is_passed)]
        self._lost.clear()
        for segment, size in lost:
            end = self._position(segment, size)
            behind = [name for name, position in cursors.items() if position < end]
            _logger.error(
                "log: %s was deleted while sidelight was running: its %d bytes are lost to %s",
                path_of(self.directory, segment),
                size,
                " and ".join(behind) or "nobody",
            )
            # How many items were in it nobody can tell any more.
            dropped += [Dropped(name, 1, "lost") for name in behind]
        return dropped

    def _is_passed(self, segment: int, size: int) -> bool:
        return self._cursors.have_passed(self._position(segment, size))

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
        _, size, _ = self._segments.span(segment, self._durable[1:])
        reader = self._segments.reader(segment)
        assert reader is not None, "only this thread deletes"
        headers = (header for _, header in reader.headers(offset, size))
        return sum(header.items for header in headers if SIGNALS[header.signal] in signals)

    def secure(self) -> bool:
        """Write again what was taken away; whether the next start finds everything.

        Only when nothing is appended any more.
        """
        try:
            self.verify()
            with self._maintenance:
                self._segments.restore(self._is_passed)
            self._cursors.restore()
        except (OSError, LogError) as error:
            _logger.error("log: undelivered data is lost with this process: %s", error)
            return False
        return not self._segments.missing_bytes

    def close(self) -> None:
        """Close all files and let another process have the folder."""
        self._is_closed = True
        self._segments.close()
        self._cursors.close()
        self._lock.close()
