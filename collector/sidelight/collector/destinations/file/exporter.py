"""Writes batches to files, rotated by size.

JSON files have a line of OTLP/JSON for each batch. Protobuf files have the OTLP request of each
batch after its length in four bytes, big-endian. The OpenTelemetry Collector's file exporter writes
both formats, and its file receiver reads them.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from sidelight.base.executor import DaemonExecutor
from sidelight.base.files import FileId, is_at, make_folder, write_whole
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.log.record import Record
from sidelight.otlp.request import FULL
from sidelight.otlp.signals import Signal

_SUFFIXES = {"json": "jsonl", "protobuf": "binpb"}
# Hexadecimal in OTLP/JSON; protobuf's own JSON has base64.
_IDS = ("traceId", "spanId", "parentSpanId")


class _OpenFile:
    """The newest file of a signal. Raises `OSError`, also if the file exists."""

    def __init__(self, path: Path) -> None:
        self.name = str(path.absolute())
        # O_EXCL: another process must not append to the same file.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self.descriptor = os.open(self.name, flags, 0o600)
        self.size = 0
        self._id = FileId.of(path.stat())

    def append(self, data: bytes) -> None:
        """Write and sync all of `data`, or nothing. Raises `OSError`."""
        try:
            write_whole(self.descriptor, data)
            os.fdatasync(self.descriptor)
        except OSError:
            # The batch will be written again: half of it must not stay.
            os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)

    def is_in_place(self) -> bool:
        """Whether the file still has its name and what was written to it."""
        return is_at(self.name, self._id, self.size)


class FileWriter:
    """Appends each record to the newest file of its signal, and syncs it before it counts as sent.

    A new process starts new files, so that a line torn by a crash is the last of its file. Its
    batch is then in the next file.
    """

    def __init__(self, config: FileDestination) -> None:
        self.name = config.name
        self.signals: frozenset[Signal] = frozenset(config.signals)
        self.pace_items_per_second = config.pace_items_per_second
        self._config = config
        self._files: dict[Signal, _OpenFile] = {}
        self._disk = DaemonExecutor(f"sidelight-{config.name}")
        self._is_writing = False
        self._closing = asyncio.Event()

    async def send(self, record: Record) -> Outcome:
        """Write one record. A fault of the disk is retried."""
        if self._closing.is_set():
            reason = f"{self._config.directory}: not written, the destination is closing"
            return Retry(reason, cause="closing", is_destinations=True)
        self._is_writing = True
        try:
            return await self._disk.run_to_end(partial(self._write, record))
        finally:
            self._is_writing = False
            if self._closing.is_set():
                self._close_files()

    async def send_nothing(self, signal: Signal) -> None:
        """None: a fault is that of the disk, whatever is written."""

    def close(self) -> None:
        """Close the files. A `send` under way closes them when it ends.

        If they were closed earlier, it could write to another file with the same descriptor.
        """
        self._closing.set()
        self._disk.close()
        if not self._is_writing:
            self._close_files()

    def _close_files(self) -> None:
        for signal in list(self._files):
            self._close_file(signal)

    def _write(self, record: Record) -> Outcome:
        body = record.body()
        data = (
            to_json(record.signal, body)
            if self._config.format == "json"
            else len(body).to_bytes(4, "big") + body
        )
        try:
            self._append(record.signal, data)
        except OSError as error:
            place = error.filename or self._config.directory
            reason = f"{place}: {error.strerror}; make room, or let this user write there"
            return Retry(reason, cause="disk", is_destinations=True)
        return Delivered()

    def _append(self, signal: Signal, data: bytes) -> None:
        file = self._files.get(signal)
        # A batch above max_bytes gets a file of its own. One that something else has deleted,
        # renamed or cut takes no more: what is in it might be found by nobody.
        is_full = file is not None and file.size and file.size + len(data) > self._config.max_bytes
        if file is not None and (is_full or not file.is_in_place()):
            self._close_file(signal)
            file = None
        file = file or self._open(signal)
        file.append(data)
        if not file.is_in_place():
            self._close_file(signal)
            raise FileNotFoundError(errno.ENOENT, "deleted or renamed during a write", file.name)

    def _open(self, signal: Signal) -> _OpenFile:
        """Open a new file of the signal, and delete the oldest beyond `max_files`."""
        directory = self._config.directory
        # Files may have content of users, so only this user may read them.
        make_folder(directory)
        existing = self._existing(signal)
        for old in existing[: max(0, len(existing) + 1 - self._config.max_files)]:
            old.unlink(missing_ok=True)
        newest = int(existing[-1].name.split(".")[0].rpartition("-")[2]) if existing else 0
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        suffix = _SUFFIXES[self._config.format]
        path = directory / f"{signal}-{stamp}-{newest + 1:08d}.{suffix}"
        file = self._files[signal] = _OpenFile(path)
        return file

    def _close_file(self, signal: Signal) -> None:
        os.close(self._files.pop(signal).descriptor)

    def _existing(self, signal: Signal) -> list[Path]:
        """The files of the signal, oldest first.

        Sorted by number and not by time, because a clock may have been set back.
        """
        pattern = re.compile(rf"{signal}-\d{{8}}T\d{{6}}Z-(\d{{8}})\.\w+")
        numbered = [
            (match[1], path)
            for path in self._config.directory.iterdir()
            if (match := pattern.fullmatch(path.name))
        ]
        return [path for _, path in sorted(numbered)]


def to_json(signal: Signal, body: bytes) -> bytes:
    """A serialised export request as a line of OTLP/JSON: hexadecimal ids, numeric enums."""
    # Only this destination needs it, and it takes 2.6 MB.
    from google.protobuf import json_format

    message = FULL[signal].FromString(body)
    # Enums are numbers in OTLP/JSON (OTLP specification, "JSON Protobuf Encoding").
    values = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_with_hex_ids(values), separators=(",", ":")).encode() + b"\n"


def _with_hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item).hex() if key in _IDS else _with_hex_ids(item)
        for key, item in value.items()
    }
