"""One segment file: records one after another, appended and synced, read back, repaired."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sidelight.base.files import FileId, is_at, sync_folder
from sidelight.collector.log.disk.header import (
    HEADER_BYTES,
    MAGIC,
    Header,
    decode,
    decode_header,
    encode_header,
    is_intact,
    is_of_other_format,
    is_ours,
)
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.record import Record

SUFFIX = ".segment"
_SEARCH_BYTES = 1024 * 1024
# More than the last block of a file may have left over.
_PROBE_BYTES = 64 * 1024
# What one call takes (IOV_MAX); records go to the kernel from where they stand, uncopied.
_MAX_BUFFERS = 1024


class StoredRecord(NamedTuple):
    """A record read from a segment, the start of the next one, and damaged bytes before it."""

    record: Record
    sequence: int
    end: int
    skipped_bytes: int


def path_of(directory: Path, first_sequence: int) -> Path:
    """The file whose first record has `first_sequence`; names sort in order of time."""
    return directory / f"{first_sequence:020d}{SUFFIX}"


def list_segments(directory: Path) -> list[int]:
    """First sequences of the segments in `directory`, oldest first."""
    return sorted(int(path.stem) for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())


class SegmentWriter:
    """Appends to the newest segment. What `append` returns from is on the disk."""

    def __init__(self, directory: Path, first_sequence: int) -> None:
        self.path = path_of(directory, first_sequence)
        self.first_sequence = first_sequence
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        try:
            self.size = os.fstat(self._fd).st_size
            # By its name, like every later look: some file systems tell another device of a
            # descriptor.
            self.id = FileId.of(self.path.stat())
            sync_folder(directory)
        except OSError:
            os.close(self._fd)
            raise
        self._name = str(self.path)

    def is_in_place(self) -> bool:
        """Whether the file still has its name, and nothing else has changed its size.

        What is appended to a file that was deleted, renamed, unmounted or hidden by another
        volume would not be there at the next start.
        """
        return is_at(self._name, self.id, self.size)

    def reader(self) -> SegmentReader:
        """A reader of this very file, whatever happens to its name. Raises `OSError`."""
        return SegmentReader(os.dup(self._fd))

    def append(self, records: Sequence[Record], sequence: int) -> None:
        """Write `records`, numbered from `sequence`, and wait for the disk.

        Raises `OSError` if the disk fails; then nothing of `records` stays in the file.
        """
        buffers: list[memoryview] = []
        for offset, record in enumerate(records):
            buffers.append(memoryview(encode_header(record, sequence + offset)))
            buffers.append(memoryview(record.payload))
        self.size += self._write(buffers)

    def probe(self) -> None:
        """Find out whether the disk takes data; raises `OSError` if not. Nothing is kept."""
        self._write([memoryview(bytes(_PROBE_BYTES))])
        os.ftruncate(self._fd, self.size)

    def _write(self, buffers: list[memoryview]) -> int:
        at = self.size
        try:
            while buffers:
                written = os.pwritev(self._fd, buffers[:_MAX_BUFFERS], at)
                at += written
                buffers = _behind(buffers, written)
            os.fdatasync(self._fd)
        except OSError:
            # Its senders are told that it failed: at a start it must not be found after all.
            os.ftruncate(self._fd, self.size)
            raise
        return at - self.size

    def cut(self, size: int) -> None:
        """Cut off what is behind `size`, a torn tail; not yet on the disk."""
        os.ftruncate(self._fd, size)
        self.size = size

    def sync(self) -> None:
        """Wait until what is in the file is on the disk. Raises `OSError`."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _behind(buffers: list[memoryview], written: int) -> list[memoryview]:
    """What is left of `buffers` once `written` of their bytes are on the disk."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []


class SegmentReader:
    """Reads one segment from any offset; damaged stretches are skipped and reported."""

    def __init__(self, file: Path | int) -> None:
        """`file`: its path, or a descriptor that the reader closes. Raises `OSError`."""
        self._fd = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        # A reader keeps the file open, also once it has been deleted.
        self._close = weakref.finalize(self, os.close, self._fd)

    def read(self, offset: int, end: int) -> StoredRecord | None:
        """The first intact record that begins at `offset` or behind it and ends before `end`."""
        start = offset
        while start < end:
            header_bytes = os.pread(self._fd, HEADER_BYTES, start)
            header = decode_header(header_bytes)
            if header is not None and start + HEADER_BYTES + header.length <= end:
                payload = os.pread(self._fd, header.length, start + HEADER_BYTES)
                if is_intact(header_bytes, payload):
                    stop = start + HEADER_BYTES + header.length
                    return StoredRecord(
                        decode(header, payload), header.sequence, stop, start - offset
                    )
            start = self._next_magic(start + 1, end)
        return None

    def headers(self, offset: int, end: int) -> Iterator[tuple[int, Header]]:
        """Places and headers from `offset` on, without payloads; damaged stretches are skipped."""
        while offset < end:
            header = decode_header(os.pread(self._fd, HEADER_BYTES, offset))
            if header is None:
                offset = self._next_magic(offset + 1, end)
            else:
                yield offset, header
                offset += HEADER_BYTES + header.length

    def full_length(self, offset: int, end: int) -> int | None:
        """The end of the record at `offset`; None if there is none, or it ends behind `end`."""
        header = decode_header(os.pread(self._fd, HEADER_BYTES, offset))
        stop = offset + HEADER_BYTES + header.length if header is not None else end + 1
        return stop if stop <= end else None

    def is_torn(self, offset: int, end: int) -> bool:
        """Whether what is between `offset` and `end` can be a record that a crash cut off.

        After a power cut there may be zeros: the file was made longer before it was filled.
        """
        data = os.pread(self._fd, min(HEADER_BYTES, end - offset), offset)
        if not any(data[: len(MAGIC)]) or MAGIC.startswith(data):
            return True
        return data.startswith(MAGIC) and (
            len(data) < HEADER_BYTES or decode_header(data) is not None
        )

    def is_of_other_format(self, offset: int, end: int) -> bool:
        """Whether a record of another format begins at `offset`."""
        return is_of_other_format(*self._beginning(offset, end))

    def is_ours(self, offset: int, end: int) -> bool:
        """Whether a record of this format begins at `offset`, intact or damaged."""
        return is_ours(*self._beginning(offset, end))

    def _beginning(self, offset: int, end: int) -> tuple[bytes, Callable[[int], bytes]]:
        """The header at `offset`, and what returns the bytes behind it, of a given length."""
        return (
            os.pread(self._fd, min(HEADER_BYTES, end - offset), offset),
            lambda length: os.pread(self._fd, min(length, end - offset), offset + HEADER_BYTES),
        )

    def _next_magic(self, offset: int, end: int) -> int:
        while offset < end:
            data = os.pread(self._fd, min(_SEARCH_BYTES, end - offset), offset)
            at = data.find(MAGIC)
            if at >= 0:
                return offset + at
            if len(data) < len(MAGIC):
                return end
            offset += len(data) - len(MAGIC) + 1
        return end

    def forget_pages(self) -> None:
        """Tell the kernel to drop the file from its cache."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def copy_to(self, path: Path, size: int) -> FileId:
        """Write the first `size` bytes to a new file `path`, with the time of the old one.

        Raises `OSError`, also if the name is taken.
        """
        temporary = path.with_name(f"{path.name}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            offset = 0
            while offset < size:
                copied = os.sendfile(fd, self._fd, offset, size - offset)
                if not copied:
                    raise OSError(errno.EIO, "the file has become shorter")
                offset += copied
            stat = os.fstat(self._fd)
            # Retention goes by the age of what is in it.
            os.utime(fd, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            os.fsync(fd)
            # Unlike a rename, a link replaces nobody else's file.
            os.link(temporary, path)
            return FileId.of(os.fstat(fd))
        finally:
            os.close(fd)
            temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file now; otherwise it closes with the last reference to the reader."""
        self._close()


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the good part of a segment, and the sequence that comes next.

    `is_torn`: what follows is the beginning of a record that nobody was told of, not damage.
    """

    size: int
    next_sequence: int
    is_torn: bool


def find_tail(path: Path, first_sequence: int) -> Tail:
    """Where the last whole record of a segment ends.

    A crash leaves at most a torn tail, and that is short: the kernel writes in order. A record
    of full length with a wrong checksum is damaged, wherever it is, and is kept for the reader
    to skip and count. Raises `LogError` for records of another format, which must not be cut.
    """
    reader = SegmentReader(path)
    try:
        file_end = path.stat().st_size
        offset, sequence = 0, first_sequence
        while (stored := reader.read(offset, file_end)) is not None:
            offset, sequence = stored.end, stored.sequence + 1
        while (end := reader.full_length(offset, file_end)) is not None:
            offset, sequence = end, sequence + 1
        is_torn = reader.is_torn(offset, file_end)
        # Without one good record, bytes that no crash leaves are not damage: it is another file.
        is_foreign = not (offset or is_torn or reader.is_ours(offset, file_end))
        if is_foreign or reader.is_of_other_format(offset, file_end):
            raise LogError(
                f"log segment {path} is in a format that this version of sidelight cannot read: "
                "start the version that wrote it, or set log.directory to another folder"
            )
        return Tail(offset, sequence, is_torn)
    finally:
        reader.close()
