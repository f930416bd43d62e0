"""The cursors of one folder: how far each subscription has come, in memory and in its file."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sidelight.collector.log.disk.cursor_files import (
    CursorFile,
    cursor_path,
    stored_cursor,
    stored_cursors,
)
from sidelight.collector.log.disk.inspection import headers
from sidelight.collector.log.position import Position

_logger = logging.getLogger(__name__)


class _Kept:
    """The file of one cursor; the threads of a destination and of the log may both store it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = CursorFile(path)
        self.lock = threading.Lock()


class FolderCursors:
    """Committed positions by the name of their subscription. Safe to use from any thread."""

    def __init__(self, directory: Path, *, may_write: Callable[[], bool]) -> None:
        """`may_write` tells whether the folder of that name is still the one that is locked."""
        self._directory = directory
        self._may_write = may_write
        self._committed: dict[str, Position] = {}
        self._kept: dict[str, _Kept] = {}

    def load(self, *, oldest: Position, end: Position) -> None:
        """Read all of them, while nothing has been appended behind the `end` they refer to."""
        for name, path in stored_cursors(self._directory):
            try:
                position = stored_cursor(path)._replace(folder=end.folder)
                if position.segment > end.segment or position.offset < 0:
                    raise ValueError("it is not of this log")
            except (OSError, ValueError) as error:
                self._warn_of_repetition(name, path, error)
                position = oldest
            self._kept[name] = _Kept(path)
            # The tail it had passed may have been damaged and is cut: what comes next is new.
            self._committed[name] = min(position, end)

    def _warn_of_repetition(self, name: str, path: Path, error: Exception) -> None:
        items = 0
        oldest_ns: int | None = None
        for header in headers(self._directory):
            items += header.items
            oldest_ns = header.time_ns if oldest_ns is None else oldest_ns
        since = "" if oldest_ns is None else f", stored from {_utc(oldest_ns)} on"
        _logger.warning(
            "log: the cursor of %s cannot be read (%s: %s): all %d items in the log%s are sent to "
            "it again; if it keeps copies of equal spans, delete there what is stored twice",
            name,
            path,
            error,
            items,
            since,
        )

    def committed(self, name: str, oldest: Position) -> Position:
        """The position of `name`; a new one begins at the `oldest` record."""
        return self._committed.setdefault(name, oldest)

    def commit(self, name: str, position: Position) -> None:
        """Remember a position. Raises `OSError` if it is remembered in memory alone."""
        self._committed[name] = position
        self._store(name)

    def _store(self, name: str) -> None:
        kept = self._kept.get(name)
        if kept is None:
            path = cursor_path(self._directory, name)
            kept = self._kept.setdefault(name, _Kept(path))
        with kept.lock:
            # A new file may only be made in the folder that is ours: another volume that was
            # mounted over it may hold another log, with a cursor of the same name.
            if not kept.file.is_in_place() and not self._may_write():
                raise FileNotFoundError(2, "the log folder is gone", str(self._directory))
            kept.file.store(self._committed[name])

    def store_all(self) -> None:
        """Write the files of all cursors, after the folder was made again. Raises `OSError`."""
        for name in list(self._committed):
            self._store(name)

    def restore(self) -> None:
        """Write files again that something else deleted; a start would send all again."""
        for name, kept in list(self._kept.items()):
            # One that was not written yet by this process is only looked for.
            if not (kept.file.is_in_place() or kept.path.exists()):
                with suppress(OSError):  # the next commit tells
                    self._store(name)

    def have_passed(self, end: Position) -> bool:
        """Whether every cursor is at `end` or behind it; False without any cursor."""
        positions = list(self._committed.values())
        return bool(positions) and all(position >= end for position in positions)

    def close(self) -> None:
        """Close all files."""
        for kept in self._kept.values():
            kept.file.close()


def _utc(time_ns: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns / 1e9))
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
