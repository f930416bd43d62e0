"""The lock of a log folder: one process has it, until its end however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sidelight.base.files import FileId, is_at
from sidelight.collector.log.errors import LogError

_NAME = "lock"


class FolderLock:
    """Locks the folder until closed, at the latest by the end of the process.

    Raises `LogError` if another process has it, and `OSError`.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME
        self._fd = self._locked(directory)
        self._id = FileId.of(self._path.stat())
        self._name = str(self._path)

    def _locked(self, directory: Path) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(fd)
                raise LogError(
                    f"log folder {directory} is in use by another running sidelight: "
                    "stop that one, or set log.directory to another folder"
                ) from error
            if os.fstat(fd).st_nlink:
                return fd
            # Removed between the two calls: a lock on a file without a name keeps nobody out.
            os.close(fd)

    def is_in_place(self) -> bool:
        """Whether the locked file still has its name, so that it keeps other processes out.

        A folder that was deleted, renamed, unmounted or hidden by another volume has another
        file there, or none.
        """
        return is_at(self._name, self._id)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._fd)
