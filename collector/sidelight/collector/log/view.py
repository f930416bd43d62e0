"""A log seen from outside the process that has it open, for the command line.

Everything but `rewind` only reads, and works whether a collector has the log open or not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sidelight.collector.log.disk import inspection, layout
from sidelight.collector.log.disk.cursor_files import (
    cursor_path,
    request_path,
    store_cursor,
    stored_cursor,
    stored_cursors,
)
from sidelight.collector.log.disk.folder_lock import FolderLock
from sidelight.collector.log.disk.format import check_format
from sidelight.collector.log.disk.inspection import Lag, SegmentSummary, StoredHeader
from sidelight.collector.log.disk.segment import list_segments, path_of
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Entry, Position

ANSWER_SECONDS = 10.0
"""A running collector looks for requests every second or so."""
_POLL_SECONDS = 0.05


class ReplayTimeoutError(Exception):
    """The collector that has the log open did not do what it was asked; nothing has changed."""


@dataclass(frozen=True, slots=True)
class LogView:
    """One folder of a log: the whole of it, or one worker's. Every call blocks."""

    directory: Path

    def segments(self, *, check: bool) -> list[SegmentSummary]:
        """Every segment, oldest first; with `check` every checksum is compared.

        Raises `OSError`.
        """
        return inspection.segments(self.directory, check=check)

    def lags(self) -> list[Lag]:
        """What each subscription has yet to read. Raises `OSError`."""
        return inspection.lags(self.directory)

    def headers(
        self, start: Position | None = None, end: Position | None = None
    ) -> Iterator[StoredHeader]:
        """Every record from `start` on (up to `end`), by its header. Raises `OSError`."""
        return inspection.headers(self.directory, start, end)

    def entries(
        self, start: Position | None = None, *, only_segment: int | None = None
    ) -> Iterator[Entry]:
        """Every intact record from `start` on, or those of one segment. Raises `OSError`."""
        return inspection.entries(self.directory, start, only_segment=only_segment)

    def subscriptions(self) -> list[str]:
        """The names of those that have a cursor here."""
        return [name for name, _ in stored_cursors(self.directory)]

    def position(self, subscription: str) -> Position:
        """Its committed position.

        Raises `KeyError` if it has none, `ValueError` if that is unreadable, and `OSError`.
        """
        try:
            return stored_cursor(cursor_path(self.directory, subscription))
        except FileNotFoundError as error:
            raise KeyError(subscription) from error

    def is_behind(self, subscription: str) -> bool:
        """Whether it has yet to read records here. Raises `OSError`.

        One without a cursor has none to read, one with an invalid cursor all of them.
        """
        try:
            position = self.position(subscription)
        except (KeyError, OSError):
            return False
        except ValueError:
            # At the next start it begins at the oldest record.
            position = Position(0, 0, 0)
        for segment in reversed(list_segments(self.directory)):
            # The newest one may be empty, and a cursor is then at the end of the one before.
            if size_bytes := path_of(self.directory, segment).stat().st_size:
                return position < Position(0, segment, size_bytes)
        return False

    def rewind(
        self, subscription: str, position: Position, *, patience_seconds: float = ANSWER_SECONDS
    ) -> bool:
        """Set a subscription's cursor back, or let the collector that has the log open do it.

        Returns whether a running collector did it. Raises `ReplayTimeoutError` if that does not
        answer within `patience_seconds`, and `OSError`.
        """
        # The lock tells whether a collector is running: its cursor in memory would overwrite a
        # file that was changed behind its back.
        try:
            lock = FolderLock(self.directory)
        except LogError:
            self._request(subscription, position, patience_seconds)
            return True
        try:
            store_cursor(cursor_path(self.directory, subscription), position)
        finally:
            lock.close()
        return False

    def _request(self, subscription: str, position: Position, patience_seconds: float) -> None:
        request = request_path(self.directory, subscription)
        store_cursor(request, position)
        deadline = time.monotonic() + patience_seconds
        try:
            while request.exists():
                if time.monotonic() > deadline:
                    raise ReplayTimeoutError
                time.sleep(_POLL_SECONDS)
        finally:
            # Nobody may find it later, when it is no longer wanted.
            request.unlink(missing_ok=True)


def views(directory: Path) -> list[LogView]:
    """The log in `directory` and those of all its workers, as far as there are any.

    Raises `LogError` if one has a format that this version cannot read, and `OSError`.
    """
    candidates = [LogView(folder) for folder in layout.all_folders(directory)]
    for view in candidates:
        check_format(view.directory)
    return [view for view in candidates if list_segments(view.directory) or view.subscriptions()]


def directories_for(directory: Path, purpose: str) -> list[Path]:
    """Where the log in `directory` and its workers keep something besides records, if they do.

    Raises `LogError` for a format that this version cannot read, and `OSError`.
    """
    folders = [folder for folder in layout.all_folders(directory) if (folder / purpose).is_dir()]
    for folder in folders:
        check_format(folder)
    return [folder / purpose for folder in folders]


def is_behind(directory: Path, subscription: str) -> bool:
    """Whether the log in `directory` holds records that the subscription has yet to read.

    Raises `LogError` and `OSError` as `views` does.
    """
    return any(view.is_behind(subscription) for view in views(directory))


def disk_bytes(directory: Path) -> int:
    """Bytes of all files of the log in `directory`: records, dead letters and the rest."""
    return sum(map(_size, directory.rglob("*"))) if directory.is_dir() else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        # A running collector deletes segments.
        return 0
