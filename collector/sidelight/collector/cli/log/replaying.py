"""`sidelight log replay`: set a destination's cursor back, so that it is sent all again."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sidelight.collector.cli.log.folders import CommandError
from sidelight.collector.log import folder
from sidelight.collector.log.cursor import (
    Position,
    cursor_path,
    request_path,
    store_cursor,
    stored_cursor,
    stored_cursors,
)
from sidelight.collector.log.log import LogError, own
from sidelight.otlp.signals import Signal

ANSWER_SECONDS = 10.0
"""A running collector looks for requests every second or so."""
_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Plan:
    """What would be sent again from one log folder: everything from `start` to the cursor."""

    directory: Path
    start: Position
    cursor: Position
    records: int = 0
    items: Counter[Signal] = field(default_factory=Counter)
    first_ns: int | None = None


def plan(directory: Path, name: str, *, since_ns: int | None, start: Position | None) -> Plan:
    """What a replay would do; without a time and a place it begins at the oldest record.

    Raises `CommandError` for a cursor that there is not and a place behind it, and `OSError`.
    """
    try:
        cursor = stored_cursor(cursor_path(directory, name))
    except FileNotFoundError as error:
        names = ", ".join(each for each, _ in stored_cursors(directory)) or "none"
        raise CommandError(f"{directory} has no cursor of {name!r}; there are: {names}") from error
    except ValueError as error:
        raise CommandError(
            f"the cursor of {name} in {directory} is unreadable: at its next start the collector "
            "sends everything again by itself"
        ) from error
    if start is not None and start > cursor:
        raise CommandError(
            f"{start} is behind the cursor, {cursor}: what lies between would never be sent"
        )
    found = Plan(directory, cursor, cursor)
    for stored in folder.headers(directory, start or Position(0, 0), cursor):
        if not found.records:
            if since_ns is not None and stored.header.time_ns < since_ns:
                continue
            found.start, found.first_ns = stored.start, stored.header.time_ns
        found.records += 1
        found.items[stored.signal] += stored.header.items
    return found


def carry_out(wanted: Plan, name: str, *, patience_seconds: float = ANSWER_SECONDS) -> bool:
    """Set the cursor back, by oneself or through the collector that has the folder open.

    Returns whether a running collector did it. Raises `CommandError` if it does not answer, and
    `OSError`.
    """
    try:
        lock = own(wanted.directory)
    except LogError:
        _ask(wanted, name, patience_seconds)
        return True
    try:
        store_cursor(cursor_path(wanted.directory, name), wanted.start)
    finally:
        os.close(lock)
    return False


def _ask(wanted: Plan, name: str, patience_seconds: float) -> None:
    request = request_path(wanted.directory, name)
    request.parent.mkdir(mode=0o700, exist_ok=True)
    store_cursor(request, wanted.start)
    deadline = time.monotonic() + patience_seconds
    try:
        while request.exists():
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the collector that has {wanted.directory} open did not set the cursor of "
                    f"{name} back within {patience_seconds:.0f} s: is {name} among its "
                    "destinations? Nothing was changed. If it hangs, stop it and run this again"
                )
            time.sleep(_LOOK_SECONDS)
    finally:
        # Nobody must find it later, when it is not wanted any more.
        request.unlink(missing_ok=True)
