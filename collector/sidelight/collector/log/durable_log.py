"""The durable log: append, read by a cursor, and let retention delete what was delivered.

    log = DurableLog(directory, segment_bytes=64 * 1024 * 1024)
    log.append(records)                       # on the disk when it returns
    cursor = log.cursor("phoenix")
    entry = cursor.read(cursor.position)      # None at the end
    cursor.commit(entry.end)
    log.trim({"phoenix": frozenset({"traces"})}, RetentionPolicy(max_bytes, max_age_seconds))
    log.close()

Everything that may wait for the disk blocks and is for a thread; `cursor`, `size_bytes`, `end`
and a cursor's `position` never touch it.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from sys import maxsize

from sidelight.base.files import make_folder
from sidelight.base.writable import sentence
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.disk import layout
from sidelight.collector.log.disk.cursor_files import stored_cursor, stored_requests
from sidelight.collector.log.disk.folder_lock import FolderLock
from sidelight.collector.log.disk.folder_log import FolderLog
from sidelight.collector.log.disk.inspection import newest
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import Record
from sidelight.collector.log.replay import ReplayRequest
from sidelight.collector.log.retention import Dropped, RetentionPolicy
from sidelight.otlp.signals import Signal

_logger = logging.getLogger(__name__)


class DurableLog:
    """One process's log: the folder it appends to, and the leftovers it empties first.

    Appends come from one thread at a time, everything else from any thread. Raises `LogError`
    on opening if a folder is another process's or cannot be written.
    """

    def __init__(
        self, directory: Path, *, segment_bytes: int, worker: int = 0, workers: int = 1
    ) -> None:
        """`directory` is the configured one, the same for all `workers`; `worker` counts from 0.

        Worker 0 also opens the leftovers of other numbers of workers.
        """
        self._root_lock: FolderLock | None = None
        # Oldest first, our own last: the order in which cursors read them.
        self._folders: tuple[FolderLog, ...] = ()
        try:
            # A relative one would move with the folder that the process was started in.
            self._root = directory = directory.absolute()
            own = layout.worker_folder(directory, worker, workers)
            left = layout.leftovers(directory, workers) if worker == 0 else []
            if worker == 0 and own != directory and directory not in left:
                self._lock_root()
            self._own = FolderLog(own, segment_bytes=segment_bytes)
            self._folders = (self._own,)
            for age, folder in enumerate(reversed(left), 1):
                leftover = FolderLog(folder, segment_bytes=segment_bytes, number=-age)
                self._folders = (leftover, *self._folders)
        except LogError:
            self.close()
            raise
        except OSError as error:
            raise LogError(f"log folder {sentence(directory, error, 'log.directory')}") from error

    def _lock_root(self) -> None:
        """Worker 0 holds the directory above the workers' folders for the life of the process:
        it shows a collector of one process that the directory is in use.
        """
        try:
            make_folder(self._root)
            lock = FolderLock(self._root)
        except OSError as error:
            raise LogError(f"log folder {sentence(self._root, error, 'log.directory')}") from error
        if self._root_lock is not None:
            self._root_lock.close()
        self._root_lock = lock

    @property
    def directory(self) -> Path:
        """The folder that is appended to."""
        return self._own.directory

    @property
    def end(self) -> Position:
        """Behind the newest durable record."""
        return self._own.end

    @property
    def size_bytes(self) -> int:
        """Bytes of records on disk, leftovers included."""
        return sum(folder.size_bytes for folder in self._folders)

    def append(self, records: Sequence[Record]) -> None:
        """Store `records` and wait for the disk.

        Raises `OSError` if it fails, and `LogError` if the folder is gone and cannot be had
        again; then nothing of `records` is stored.
        """
        self._own.append(records)
        # After it: with the folder above, the workers' folders are made again.
        self._verify_root()

    def verify(self) -> None:
        """Check that the folder is still the one that was opened, and make it again if not.

        Raises as `append` does. Like an append it comes from one thread at a time.
        """
        self._own.verify()
        self._verify_root()

    def probe(self) -> None:
        """As `verify`, and check whether the disk takes data."""
        self._own.probe()
        self._verify_root()

    def _verify_root(self) -> None:
        if self._root_lock is not None and not self._root_lock.is_in_place():
            self._lock_root()

    def newest(self, max_bytes: int) -> Iterator[Record]:
        """The newest records, oldest first, of at most `max_bytes` together. Raises `OSError`."""
        return newest(self._own.directory, max_bytes)

    def cursor(self, name: str) -> Cursor:
        """The cursor of the subscription `name`; a new one begins at the oldest record."""
        return Cursor(name, lambda: self._folders)

    def directory_for(self, purpose: str) -> Path:
        """Where to keep what belongs to this log but is not its records, such as dead letters.

        The directory need not exist.
        """
        return self._own.directory / purpose

    def leftover_directories_for(self, purpose: str) -> tuple[Path, ...]:
        """The same in the leftovers, for reading only: they are removed once delivered."""
        return tuple(leftover.directory / purpose for leftover in self._folders[:-1])

    def trim(
        self, wanted: Mapping[str, Container[Signal]], policy: RetentionPolicy
    ) -> list[Dropped]:
        """Delete what `policy` lets go of, and leftovers that were delivered completely.

        `wanted` holds the names of the subscriptions to wait for and the signals each reads.
        Returns what they lost. One thread at a time; appends and reads go on.
        """
        dropped = self._own.trim(wanted, policy)
        # A leftover does not grow, so the size limit, which may be a share of what it was, must
        # not cost what is in it; and there is nothing left to replay into.
        of_leftovers = replace(policy, max_bytes=maxsize, keep_seconds=0.0)
        for leftover in self._folders[:-1]:
            # Nothing is appended to it that would notice that its folder is gone.
            with suppress(OSError, LogError):
                leftover.verify()
            dropped += leftover.trim(wanted, of_leftovers)
            # Without destinations nothing counts as delivered: one may be configured later.
            if wanted and all(leftover.is_read_by(name) for name in wanted):
                self._remove(leftover)
        return dropped

    def _remove(self, leftover: FolderLog) -> None:
        self._folders = tuple(folder for folder in self._folders if folder is not leftover)
        leftover.close()
        is_root = leftover.directory == self._root
        try:
            if is_root:
                # Closing it gave up the lock that says the workers' folders in it are ours.
                self._lock_root()
            layout.remove(leftover.directory, keep_folder=is_root)
        except (LogError, OSError) as error:
            _logger.warning("log: leftover %s cannot be removed: %s", leftover.directory, error)
        else:
            _logger.info("log: leftover %s is empty and removed", leftover.directory)

    def replay_requests(self) -> list[ReplayRequest]:
        """What `sidelight log replay` asks for now. Raises `OSError`."""
        requests = []
        for folder in self._folders:
            for name, path in stored_requests(folder.directory):
                try:
                    position = stored_cursor(path)
                except (OSError, ValueError):
                    # Withdrawn since, or not a request.
                    continue
                stamped = position._replace(folder=folder.number)
                requests.append(ReplayRequest(name, stamped, path))
        return requests

    def secure(self) -> bool:
        """Write again what was taken away; whether the next start finds everything.

        Only when nothing is appended or deleted any more.
        """
        # Every folder, whether or not another one can be kept.
        kept = [folder.secure() for folder in self._folders]
        return all(kept)

    def close(self) -> None:
        """Close all files and let another process have the folders."""
        for folder in self._folders:
            folder.close()
        if self._root_lock is not None:
            self._root_lock.close()
            self._root_lock = None
