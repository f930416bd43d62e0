"""What a backend refuses for good, kept in a file with the reason, for a person to look at."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from pathlib import Path

from sidelight.collector.log.record import Record, encode

_logger = logging.getLogger(__name__)


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
        """The file of a destination; it exists once something was refused."""
        return self._directory / f"{destination}.jsonl"

    def add(self, destination: str, record: Record, *, status: int | None, reason: str) -> None:
        """Keep a refused record. A disk that refuses is logged: there is no other place."""
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
        try:
            with self._lock:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if path.exists() and path.stat().st_size + len(line) > self._max_bytes:
                    path.replace(path.with_suffix(".old.jsonl"))
                _append(path, f"{line}\n".encode())
        except OSError as error:
            _logger.error("dead letters of %s cannot be written: %s", destination, error)


def _append(path: Path, data: bytes) -> None:
    """All of `data` or, where the disk refuses, nothing: half a line would spoil the next."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
