"""Sampling decisions kept in a file, so that a trace stays whole across a restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sidelight.base.files import make_folder, replace_file, write_whole
from sidelight.collector.delivery.sampling.sampler import Decision

_logger = logging.getLogger(__name__)

_ENTRY_BYTES = 17


class Decisions:
    """A file of trace ids with a byte each, appended to and now and then written anew.

    Like the log's cursors it is not synced with each entry: both outlive the process; after a
    power cut both may be a little old, and the traces in between are decided on again.
    """

    def __init__(self, path: Path, *, most: int) -> None:
        self._path = path
        self._most = most
        self._entries = 0

    def load(self) -> list[tuple[bytes, Decision]]:
        """The newest `most` decisions, oldest first; none if the file cannot be read."""
        try:
            data = self._path.read_bytes()
            # A crash may have cut the last entry.
            whole = len(data) - len(data) % _ENTRY_BYTES
            if whole < len(data):
                os.truncate(self._path, whole)
        except FileNotFoundError:
            return []
        except OSError as error:
            _logger.warning(
                "sampling: %s is unreadable, traces under way are decided on again: %s; let this "
                "user read it, or delete it",
                self._path,
                error,
            )
            return []
        self._entries = whole // _ENTRY_BYTES
        known = {int(decision) for decision in Decision}
        return [
            (data[at : at + 16], Decision(data[at + 16]))
            for at in range(max(0, whole - self._most * _ENTRY_BYTES), whole, _ENTRY_BYTES)
            if data[at + 16] in known
        ]

    def add(self, fresh: Sequence[tuple[bytes, Decision]]) -> None:
        """Append decisions. Raises `OSError` if it fails."""
        make_folder(self._path.parent)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_whole(fd, _encoded(fresh))
        finally:
            os.close(fd)
        self._entries += len(fresh)

    def compact(self, remembered: Iterable[tuple[bytes, Decision]]) -> None:
        """Write the file anew with what is remembered, once it has grown to twice the most."""
        if self._entries <= 2 * self._most:
            return
        kept = list(remembered)[-self._most :]
        replace_file(self._path, _encoded(kept))
        self._entries = len(kept)


def _encoded(decisions: Iterable[tuple[bytes, Decision]]) -> bytes:
    # The collector takes no span whose trace id has not 16 bytes.
    return b"".join(trace_id + bytes((decision,)) for trace_id, decision in decisions)
