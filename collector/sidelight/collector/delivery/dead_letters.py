"""What a backend rejects for good, kept in a file with the reason, for a person to look at."""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidelight.base.files import make_folder, write_whole
from sidelight.collector.log.record import Record, encode

_logger = logging.getLogger(__name__)

SUFFIX = ".jsonl"
OLDER_SUFFIX = ".jsonl.1"
"""Of the older file. Not before the other suffix: a destination's name may end in any word."""


class DeadLetters:
    """One file of JSON lines for each destination, bounded: one older file is kept.

    A line holds time, signal, items, status (null: it was never asked), reason and the
    gzipped OTLP request in base64.
    The content is as processed, redacted and all, as anything else in the log folder.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def path(self, destination: str) -> Path:
        """The file of a destination; it exists once something was rejected."""
        return self._directory / f"{destination}{SUFFIX}"

    def add(self, destination: str, record: Record, *, status: int | None, reason: str) -> None:
        """Keep a rejected record. A disk that refuses is logged: there is no other place."""
        try:
            self.store(destination, record, status=status, reason=reason)
        except OSError as error:
            _logger.error("dead letters of %s cannot be written: %s", destination, error)

    def store(self, destination: str, record: Record, *, status: int | None, reason: str) -> None:
        """Keep a rejected record on the disk. Raises `OSError` if it is not kept."""
        # As it is stored, for it may be here because it cannot be decompressed.
        payload = record.payload
        if record.encoding == "identity":
            payload = encode(payload, "gzip")
        line = json.dumps(
            {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "signal": record.signal,
                "items": record.items,
                "status": status,
                "reason": reason,
                "request_gzip_base64": base64.b64encode(payload).decode(),
            }
        )
        path = self.path(destination)
        make_folder(self._directory)
        with self._lock, locked(self._directory):
            if path.exists() and path.stat().st_size + len(line) > self._max_bytes:
                self._replace_older(destination)
            _append(path, f"{line}\n".encode())

    def _replace_older(self, destination: str) -> None:
        older = self._directory / f"{destination}{OLDER_SUFFIX}"
        if older.exists():
            _logger.error(
                "the oldest dead letters of %s are deleted, %d bytes: there are too many; correct "
                "what rejects them and run `sidelight log dead-letters resend %s`",
                destination,
                older.stat().st_size,
                destination,
            )
        self.path(destination).replace(older)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from changing the files: a collector adds while a command removes.

    Raises `OSError`.
    """
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _append(path: Path, data: bytes) -> None:
    """All of `data` or, where the disk refuses, nothing: half a line would spoil the next."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            # A power cut has torn the last line; this one must not become part of it.
            data = b"\n" + data
        try:
            write_whole(fd, data)
            # The cursor passes the record once it is here.
            os.fdatasync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
