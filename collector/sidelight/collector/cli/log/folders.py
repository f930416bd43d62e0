"""Which logs there are, and times and positions as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Position
from sidelight.collector.log.view import LogView, views

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and what to do.

    `code` is what the process exits with: 2 if the question was wrong.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def find_logs(directory: Path) -> list[LogView]:
    """The log in `directory` and those of its workers. Raises `CommandError` if there is none."""
    try:
        logs = views(directory)
    except LogError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"log folder {directory} cannot be read: {error.strerror}; "
            "name it with --directory, or the configuration with --config"
        ) from error
    if not logs:
        raise CommandError(
            f"{directory} is not a log folder: it holds no segments; "
            "name it with --directory, or the configuration with --config"
        )
    return logs


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
    """A position as `sidelight log ls` prints it, SEGMENT:OFFSET. Raises `CommandError`."""
    try:
        return Position.parse(text)
    except ValueError as error:
        raise CommandError(str(error), 2) from error


def show_time(time_ns: int | None) -> str:
    """UTC to the second, or a dash."""
    if time_ns is None:
        return "-"
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return "?"
