"""Which log folders there are, and times and places as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidelight.collector.log import shares
from sidelight.collector.log.cursor import Position, stored_cursors
from sidelight.collector.log.segment import list_segments

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and what to do.

    `code` is what the process exits with: 2 if the question was wrong.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def find_folders(directory: Path) -> list[Path]:
    """The log folder at `directory` and those of its workers. Raises `CommandError` without."""
    try:
        found = [each for each in shares.folders(directory) if _is_log(each)]
    except OSError as error:
        raise CommandError(
            f"log folder {directory} cannot be read: {error.strerror}; "
            "name it with --directory, or the configuration with --config"
        ) from error
    if not found:
        raise CommandError(
            f"{directory} is no log folder: it holds no segments; "
            "name it with --directory, or the configuration with --config"
        )
    return found


def _is_log(directory: Path) -> bool:
    return bool(list_segments(directory)) or any(stored_cursors(directory))


def parse_time(text: str, now: datetime) -> int:
    """Unix time in nanoseconds of `15m` (ago; s, m, h, d) or of an ISO 8601 time.

    A time without a zone is the machine's own. Raises `CommandError`.
    """
    ago = re.fullmatch(r"(\d{1,9})([smhd])", text)
    try:
        if ago is not None:
            moment = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            moment = datetime.fromisoformat(text)
        return int(moment.timestamp() * 1e9)
    except (ValueError, OverflowError) as error:
        raise CommandError(
            f"{text!r} is no time: write 15m, 2h or 3d (ago), or 2026-11-23T13:30:00Z", 2
        ) from error


def parse_position(text: str) -> Position:
    """A place as `sidelight log ls` prints it, SEGMENT:OFFSET. Raises `CommandError`."""
    found = re.fullmatch(r"(\d{1,20}):(\d{1,20})", text)
    if found is None:
        raise CommandError(f"{text!r} is no position: write SEGMENT:OFFSET, for instance 1:0", 2)
    return Position(int(found[1]), int(found[2]))


def show_time(time_ns: int | None) -> str:
    """UTC to the second, or a dash."""
    if time_ns is None:
        return "-"
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return "?"
