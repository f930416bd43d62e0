"""A cursor: how far one subscription has come in the log, by name, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidelight.collector.log.disk.folder_log import FolderLog
from sidelight.collector.log.position import Entry, Position


class Cursor:
    """Reads everything in order: leftovers first, the oldest before the others, then our own.

    `DurableLog.cursor` makes them. They hold no state of their own, so two of one name are the
    same. `read`, `commit` and `rewind` block, the others never do.
    """

    def __init__(self, name: str, folders: Callable[[], Sequence[FolderLog]]) -> None:
        self.name = name
        self._folders = folders

    @property
    def position(self) -> Position:
        """The committed position: everything before it is done with."""
        # Read once: retention may remove a leftover between two looks.
        *leftovers, own = self._folders()
        for folder in leftovers:
            committed = folder.committed(self.name)
            if committed < folder.end:
                return committed
        return own.committed(self.name)

    def recent(self, position: Position) -> Entry | None:
        """The record at `position` if it is still in memory."""
        # Nothing is appended to leftovers, so they keep nothing in memory.
        return self._folders()[-1].recent(position)

    def is_end(self, position: Position) -> bool:
        """Whether nothing durable is behind `position`.

        False where only the disk can tell: behind the last record of a leftover.
        """
        return position == self._folders()[-1].end

    def read(self, position: Position) -> Entry | None:
        """The next intact record at or behind `position`; None at the end. Raises `OSError`."""
        for folder in self._folders():
            if folder.number < position.folder:
                continue
            if folder.number > position.folder:
                # What was delivered of the next folder before is not read a second time.
                position = folder.committed(self.name)
            entry = folder.read(position)
            if entry is not None:
                return entry
        return None

    def commit(self, position: Position) -> None:
        """Remember that everything before `position` is done with.

        Raises `OSError` if it cannot be written; this process remembers it all the same.
        """
        failure: OSError | None = None
        for folder in self._folders():
            if folder.number > position.folder:
                break
            is_passed = folder.number < position.folder
            if is_passed and folder.committed(self.name) == folder.end:
                continue
            try:
                folder.commit(self.name, folder.end if is_passed else position)
            except OSError as error:
                # The other folders are written all the same: each one spares a repetition.
                failure = error
        if failure is not None:
            raise failure

    def has_passed(self, position: Position) -> bool:
        """Whether everything before `position` is done with, and the log still has its folder."""
        return any(
            folder.number == position.folder and position <= folder.committed(self.name)
            for folder in self._folders()
        )

    def rewind(self, position: Position) -> None:
        """Go back to `position`, which the cursor has passed.

        Nobody may be reading by this cursor. What follows in another folder is not read again.
        Raises `OSError` as `commit` does.
        """
        for folder in self._folders():
            if folder.number == position.folder:
                folder.commit(self.name, position)
