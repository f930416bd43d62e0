"""The files of dead letters, read from outside: listed, printed, and emptied by a resend."""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidelight.base.files import replace_file
from sidelight.collector.delivery.dead_letters import OLDER_SUFFIX, SUFFIX, locked
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import SIGNALS

_RESEND_SUFFIX = ".resend"
# Of a partial success: nobody knows any more which items were accepted.
_PARTIAL_STATUS = 200


class ResendRunningError(Exception):
    """Another process is sending the dead letters of the destination again."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One line. `record` is None if it cannot be read; then `reason` says so.

    `time` is when it was rejected, in UTC and ISO 8601. `bytes` is the length of the line.
    """

    file: int
    offset: int
    bytes: int
    time: str = ""
    record: Record | None = None
    status: int | None = None
    reason: str = "the line cannot be read"

    @property
    def is_partial(self) -> bool:
        """Whether the destination accepted some of it, and did not say which."""
        return self.status == _PARTIAL_STATUS


def destinations_in(directory: Path) -> list[str]:
    """The names of the destinations that have dead letters in the folder."""
    names = {path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}")}
    names |= {path.name.removesuffix(OLDER_SUFFIX) for path in directory.glob(f"*{OLDER_SUFFIX}")}
    return sorted(names)


def letters_in(directory: Path, destination: str) -> Iterator[DeadLetter]:
    """The dead letters of a destination, oldest first. Raises `OSError`."""
    for number, path in enumerate(_paths(directory, destination)):
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield from _letters(number, fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)


class ResendFiles:
    """The dead letters of one destination while they are sent again, by one process at a time.

    Each letter is removed for itself, so that a command that is stopped begins where it ended.
    Raises `ResendRunningError` and `OSError`.
    """

    def __init__(self, directory: Path, destination: str) -> None:
        self._directory = directory
        self._paths = _paths(directory, destination)
        self._guard = os.open(
            directory / f"{destination}{_RESEND_SUFFIX}",
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
            0o600,
        )
        self._fds: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A collector must not replace the older file between the two calls.
            with locked(directory):
                for number, path in enumerate(self._paths):
                    with suppress(FileNotFoundError):
                        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                        self._fds[number] = fd
                        # What is added from now on is for the next run: it may be what this one
                        # sends and has rejected again.
                        self._ends[number] = os.fstat(fd).st_size
        except BlockingIOError as error:
            os.close(self._guard)
            raise ResendRunningError(destination) from error
        except BaseException:
            os.close(self._guard)
            raise

    def letters(self) -> Iterator[DeadLetter]:
        """Those that were there at the start, oldest first. Raises `OSError`."""
        for number, fd in self._fds.items():
            yield from _letters(number, fd, self._ends[number])

    def remove(self, letter: DeadLetter) -> None:
        """Blank a line that was delivered. Raises `OSError`."""
        # In its place, which takes the same time however large the file is. The descriptor is
        # right even if the collector has made it the older file since.
        os.pwrite(self._fds[letter.file], b" " * (letter.bytes - 1), letter.offset)

    def close(self) -> None:
        """Delete blank lines, and files that hold nothing else. Raises `OSError`."""
        try:
            with locked(self._directory):
                for path in self._paths:
                    with suppress(FileNotFoundError):
                        _compact(path)
        finally:
            for fd in (*self._fds.values(), self._guard):
                os.close(fd)


def _paths(directory: Path, destination: str) -> tuple[Path, Path]:
    """The older file and the newer one; they need not exist."""
    return directory / f"{destination}{OLDER_SUFFIX}", directory / f"{destination}{SUFFIX}"


def _letters(number: int, fd: int, end: int) -> Iterator[DeadLetter]:
    offset = 0
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        while offset < end:
            line = file.readline()
            if not line:
                break
            if line.strip() and line.endswith(b"\n"):
                yield _letter(number, offset, line)
            offset += len(line)


def _letter(number: int, offset: int, line: bytes) -> DeadLetter:
    try:
        values = json.loads(line)
        payload = base64.b64decode(values["request_gzip_base64"], validate=True)
        signal, items, status = values["signal"], values["items"], values["status"]
        if signal not in SIGNALS or type(items) is not int or type(status) not in (int, type(None)):
            raise ValueError("not a dead letter")
        # Scores that are too old are dropped, and it is the resend that is asked for now.
        record = Record(signal, payload, items, time.time_ns())
        when, reason = str(values["time"]), str(values["reason"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return DeadLetter(number, offset, len(line))
    return DeadLetter(number, offset, len(line), when, record, status, reason)


def _compact(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    kept = b"".join(line for line in lines if line.strip())
    if not kept:
        path.unlink()
    elif len(kept) < sum(map(len, lines)):
        replace_file(path, kept)
