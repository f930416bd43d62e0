"""Private files and folders: made for their owner alone, replaced whole, told apart by inode."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class FileId(NamedTuple):
    """Which file it is, whatever its name: a device and an inode."""

    device: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileId:
        """The file that was looked at."""
        return cls(stat.st_dev, stat.st_ino)


def id_at(path: Path) -> FileId | None:
    """The file that has the name now; None if none has it, or if it cannot be reached."""
    try:
        return FileId.of(path.stat())
    except OSError:
        # Not only a missing one: what cannot be reached by its name is not there at a start.
        return None


def is_at(name: str, file: FileId, size: int | None = None) -> bool:
    """Whether the file has the name now and, if `size` is given, that many bytes."""
    try:
        # Called for each write of the log: a `Path` and a tuple would cost as much again.
        stat = os.stat(name)  # noqa: PTH116
    except OSError:
        return False
    return (
        stat.st_ino == file.inode
        and stat.st_dev == file.device
        and (size is None or stat.st_size == size)
    )


def make_folder(directory: Path) -> None:
    """Create a folder and those missing above it, for their owner alone.

    A folder that exists keeps its mode. Raises `OSError`, also if a file has the name.
    """
    try:
        # The mode of `Path.mkdir(parents=True)` does not count for the parents.
        directory.mkdir(0o700)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_folder(directory.parent)
        make_folder(directory)
    except FileExistsError:
        if not directory.is_dir():
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)
            ) from None
    else:
        # A parent that may be searched and not read cannot be synced.
        with suppress(PermissionError):
            sync_folder(directory.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a power cut leaves the old one or the new one, whole.

    Raises `OSError`.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_whole(fd, data)
        # Without it a file system may store the new name before the bytes: a file of no length.
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_folder(path.parent)


def write_whole(fd: int, data: bytes) -> None:
    """Write all of `data`, which one call need not do. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(directory: Path) -> None:
    """A new name survives a power cut only once its folder is on the disk. Raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
