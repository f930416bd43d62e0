"""`sidelight log replay`: rewind a subscription, so that its destination is sent all again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sidelight.collector.cli.log.folders import CommandError
from sidelight.collector.log.position import Position
from sidelight.collector.log.view import ANSWER_SECONDS, LogView, ReplayTimeoutError
from sidelight.otlp.signals import Signal


@dataclass(slots=True)
class Plan:
    """What would be sent again from one log folder: everything from `start` to the cursor."""

    log: LogView
    start: Position
    cursor: Position
    records: int = 0
    items: Counter[Signal] = field(default_factory=Counter)
    first_ns: int | None = None


def plan(log: LogView, name: str, *, since_ns: int | None, start: Position | None) -> Plan:
    """What a replay would do; without a time and a position it begins at the oldest record.

    Raises `CommandError` if there is no such cursor or `start` is behind it, and `OSError`.
    """
    try:
        cursor = log.position(name)
    except KeyError as error:
        names = ", ".join(log.subscriptions()) or "none"
        raise CommandError(
            f"{log.directory} has no cursor of {name!r}; there are: {names}"
        ) from error
    except ValueError as error:
        raise CommandError(
            f"the cursor of {name} in {log.directory} is unreadable: at its next start the "
            "collector sends everything again by itself"
        ) from error
    if start is not None and start > cursor:
        raise CommandError(
            f"{start} is behind the cursor, {cursor}: what lies between would never be sent"
        )
    result = Plan(log, cursor, cursor)
    for header in log.headers(start, cursor):
        if not result.records:
            if since_ns is not None and header.time_ns < since_ns:
                continue
            result.start, result.first_ns = header.start, header.time_ns
        result.records += 1
        result.items[header.signal] += header.items
    return result


def carry_out(wanted: Plan, name: str, *, patience_seconds: float = ANSWER_SECONDS) -> bool:
    """Rewind the subscription, or let the collector that has the log open do it.

    Returns whether a running collector did it. Raises `CommandError` if it does not answer, and
    `OSError`.
    """
    try:
        return wanted.log.rewind(name, wanted.start, patience_seconds=patience_seconds)
    except ReplayTimeoutError as error:
        raise CommandError(
            f"the collector that has {wanted.log.directory} open did not set the cursor of "
            f"{name} back within {patience_seconds:.0f} s: is {name} among its destinations? "
            "Nothing was changed. If it hangs, stop it and run this again"
        ) from error
