"""The segments of one folder: their order and sizes, their open files, and their deletion."""

from __future__ import annotations

import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sidelight.base.files import FileId, id_at, sync_folder
from sidelight.collector.log.disk.segment import (
    SegmentReader,
    SegmentWriter,
    list_segments,
    path_of,
)
from sidelight.collector.log.retention import SegmentState

_logger = logging.getLogger(__name__)

MAX_HELD = 1024
"""Segments that are kept open from their start, so that a deleted file can still be read."""
# The rest of the limit of open files is for connections.
_HELD_PART_OF_FILES = 8


class Segments:
    """Oldest first; the newest is the writer's. Reads may come from any thread."""

    def __init__(self, directory: Path) -> None:
        """Reads the folder. Raises `OSError`."""
        self._directory = directory
        # Guards what is in memory, and is never held during a call that may wait for the disk:
        # deleting one large file can take seconds.
        self._lock = threading.Lock()
        self.numbers = list_segments(directory)
        self.size_bytes = 0
        """Bytes of all segments, kept up to date so that /metrics need not ask the disk."""
        self._readers: dict[int, SegmentReader] = {}
        # Sizes of the segments that are full; the newest one's is the writer's.
        self._sizes: dict[int, int] = {}
        self._ids: dict[int, FileId] = {}
        # When each segment was last appended to, by a clock that does not jump.
        self._written: dict[int, float] = {}
        # No longer in the log, but deleting their files failed, or they could not be reached.
        self._undeleted: dict[int, FileId] = {}
        # Files that were copied because their name was gone. A volume may be mounted again.
        self._originals: dict[FileId, int] = {}
        # Their files are gone, and that was logged.
        self._missed: set[int] = set()
        self._is_closed = False
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        has_limit = files != resource.RLIM_INFINITY
        self._max_held = min(MAX_HELD, files // _HELD_PART_OF_FILES) if has_limit else MAX_HELD

    def start(self, writer: SegmentWriter) -> None:
        """Take in every segment of the folder; `writer` appends to the newest. Raises `OSError`."""
        self._writer = writer
        if not self.numbers:
            self.numbers.append(writer.first_sequence)
        for number in self.numbers:
            stat = path_of(self._directory, number).stat()
            self._written[number] = time.monotonic() - max(0.0, time.time() - stat.st_mtime)
            self._sizes[number] = stat.st_size
            self._ids[number] = FileId.of(stat)
        self.size_bytes = sum(self._sizes.values())
        for number in self.numbers[-self._max_held :]:
            with suppress(OSError):  # it is opened when it is read, and that error is told
                self._readers[number] = SegmentReader(path_of(self._directory, number))

    # ── appending ────────────────────────────────────────────────────────────────────────

    def add(self, writer: SegmentWriter) -> None:
        """A new segment begins; nothing is appended to the one before any more."""
        number = writer.first_sequence
        reader = writer.reader()
        with self._lock:
            full, self._writer = self._writer, writer
            self._sizes[full.first_sequence] = full.size
            self._ids[number] = writer.id
            self._readers[number] = reader
            self._written[number] = time.monotonic()
            self.numbers.append(number)
            if len(self.numbers) > self._max_held:
                self._readers.pop(self.numbers[-self._max_held - 1], None)
        with suppress(OSError):  # all of it is on the disk already
            full.close()

    def grew(self, size_bytes: int) -> None:
        """So many bytes were appended to the newest segment just now."""
        self._written[self._writer.first_sequence] = time.monotonic()
        with self._lock:
            self.size_bytes += size_bytes

    # ── reading ──────────────────────────────────────────────────────────────────────────

    def span(self, wanted: int, durable_end: tuple[int, int]) -> tuple[int, int, int]:
        """The wanted segment (or the oldest newer one where that is deleted), where its durable
        part ends, and the segment that follows it; the newest is followed by itself.
        """
        with self._lock:
            number = self._at(wanted)
            newest, offset = durable_end
            end = offset if number == newest else self._size(number)
            return number, end, self._at(number + 1)

    def _at(self, wanted: int) -> int:
        return next((number for number in self.numbers if number >= wanted), self.numbers[-1])

    def _size(self, number: int) -> int:
        newest = self._writer
        return newest.size if number == newest.first_sequence else self._sizes[number]

    def reader(self, number: int) -> SegmentReader | None:
        """The segment's reader, or None if it has just been deleted. Raises `OSError`."""
        reader = self._readers.get(number)
        if reader is not None:
            return reader
        try:
            reader = SegmentReader(path_of(self._directory, number))
        except FileNotFoundError:
            if number in self.numbers:
                raise
            return None
        with self._lock:
            if number in self.numbers:
                reader = self._readers.setdefault(number, reader)
        return reader

    def forget_pages(self, number: int) -> None:
        """A backlog that is read once must not push what others need out of the page cache."""
        reader = self._readers.get(number)
        if reader is not None:
            reader.forget_pages()

    # ── deleting ─────────────────────────────────────────────────────────────────────────

    def states(self) -> list[SegmentState]:
        """Every segment as retention sees it."""
        now = time.monotonic()
        with self._lock:
            return [
                SegmentState(number, self._size(number), now - self._written[number])
                for number in self.numbers
            ]

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete segments and their files; a file that cannot be deleted is tried again later."""
        files = self._undeleted | {number: self._ids[number] for number in numbers}
        self._forget(numbers)
        failed = {}
        for number, file_id in files.items():
            path = path_of(self._directory, number)
            if self._is_closed:
                # The folder may be another process's by now.
                return
            if id_at(path) != file_id:
                # Another volume may be mounted there; ours may come back, with the file.
                failed[number] = file_id
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                failed[number] = file_id
                if number not in self._undeleted:
                    _logger.error("log: %s cannot be deleted, retrying: %s", path, error.strerror)
        self._undeleted = failed

    def _forget(self, numbers: Sequence[int]) -> None:
        readers = []
        with self._lock:
            for number in numbers:
                self.numbers.remove(number)
                self._written.pop(number, None)
                self._ids.pop(number, None)
                self.size_bytes -= self._sizes.pop(number)
                readers.append(self._readers.pop(number, None))
        # Closing the last descriptor of a deleted file is what frees its blocks, and as slow.
        del readers

    # ── files that something else took away ──────────────────────────────────────────────

    def has_foreign_files(self) -> bool:
        """Whether the folder holds segments that are not ours: another log. Raises `OSError`."""
        ours = {*self._ids.values(), *self._undeleted.values(), *self._originals}
        return any(
            id_at(path_of(self._directory, number)) not in ours
            for number in list_segments(self._directory)
        )

    def restore(
        self, has_passed: Callable[[int, int], bool], *, most_bytes: int = sys.maxsize
    ) -> list[tuple[int, int]]:
        """Write segments again whose files were taken away, from their open descriptors.

        At most so many bytes, and never while segments are deleted or the folder is not ours.
        Segments whose end every subscription `has_passed` are forgotten. Returns numbers and
        sizes of those that are lost, which are forgotten too.
        """
        lost = []
        for number in self.numbers[:-1]:
            file = id_at(path_of(self._directory, number))
            if file == self._ids[number]:
                continue
            if file is not None and self._originals.get(file) == number:
                self._ids[number] = file
                continue
            size = self._sizes[number]
            reader = self._readers.get(number)
            if not size or has_passed(number, size):
                self._undeleted[number] = self._ids[number]
                self._forget([number])
            elif reader is None:
                lost.append((number, size))
                self._forget([number])
            elif size <= most_bytes:
                most_bytes -= size
                self._write_again(number, reader, size)
        return lost

    def _write_again(self, number: int, reader: SegmentReader, size: int) -> None:
        path = path_of(self._directory, number)
        original = self._ids[number]
        try:
            self._ids[number] = reader.copy_to(path, size)
            self._originals[original] = number
            sync_folder(self._directory)
            # The descriptor of the file without a name would keep its blocks.
            self._readers[number] = SegmentReader(path)
        except OSError as error:
            # This process can still read it, and the next pass tries again.
            if number not in self._missed:
                _logger.error(
                    "log: %s was taken away and cannot be written again, retrying; it is lost if "
                    "sidelight stops before: %s",
                    path,
                    error.strerror,
                )
            self._missed.add(number)
            return
        self._missed.discard(number)
        _logger.warning("log: %s was taken away and is written again: nothing is lost", path)

    @property
    def missing_bytes(self) -> int:
        """Bytes of segments that cannot be written again: they end with the process."""
        return sum(self._sizes.get(number, 0) for number in self._missed)

    def close(self) -> None:
        """Close all files."""
        self._is_closed = True
        with self._lock:
            readers = list(self._readers.values())
            self._readers.clear()
        del readers
        self._writer.close()
