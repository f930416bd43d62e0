"""`sidelight log ls`: what a log folder holds, and how far each destination has come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sidelight.collector.cli.log.folders import show_time
from sidelight.collector.log.view import LogView
from sidelight.otlp.signals import SIGNALS

_SEGMENTS = ("segment", "bytes", "records", *SIGNALS, "first", "last", "damaged", "unfinished")
_CURSORS = ("cursor", "at", "records behind", "items behind", "seconds behind")


def describe(log: LogView, *, check: bool, now_ns: int) -> dict[str, Any]:
    """One log folder as plain values, for JSON. Raises `OSError`."""
    return {
        "directory": str(log.directory),
        "segments": [
            {
                "segment": each.first_sequence,
                "file": each.path.name,
                "bytes": each.size_bytes,
                "records": each.records,
                "items": {signal: each.items[signal] for signal in SIGNALS},
                "first": show_time(each.first_ns),
                "last": show_time(each.last_ns),
                "damaged_bytes": each.damaged_bytes,
                "unfinished_bytes": each.unfinished_bytes,
            }
            for each in log.segments(check=check)
        ],
        "cursors": [
            {
                "cursor": each.subscription,
                "position": None if each.position is None else str(each.position),
                "records_behind": each.records,
                "items_behind": {signal: each.items[signal] for signal in SIGNALS},
                "seconds_behind": _age_seconds(each.oldest_ns, now_ns),
            }
            for each in log.lags()
        ],
    }


def is_damaged(description: dict[str, Any]) -> bool:
    """Whether a described folder has damage."""
    unreadable = any(each["position"] is None for each in description["cursors"])
    return unreadable or any(each["damaged_bytes"] for each in description["segments"])


def render(description: dict[str, Any]) -> str:
    """A described folder as text for people."""
    segments, cursors = description["segments"], description["cursors"]
    total = sum(each["bytes"] for each in segments)
    many = "" if len(segments) == 1 else "s"
    parts = [
        f"{description['directory']}: {len(segments)} segment{many}, {total / 1e6:,.1f} MB",
        table(
            _SEGMENTS,
            [
                (
                    str(each["segment"]),
                    f"{each['bytes']:,}",
                    f"{each['records']:,}",
                    *(f"{each['items'][signal]:,}" for signal in SIGNALS),
                    each["first"],
                    each["last"],
                    f"{each['damaged_bytes']:,}",
                    f"{each['unfinished_bytes']:,}",
                )
                for each in segments
            ],
        ),
        table(
            _CURSORS,
            [
                (
                    each["cursor"],
                    each["position"] or "unreadable",
                    f"{each['records_behind']:,}",
                    f"{sum(each['items_behind'].values()):,}",
                    f"{each['seconds_behind']:,.0f}",
                )
                for each in cursors
            ],
        )
        if cursors
        else "no cursors: nothing was ever sent from here",
    ]
    return "\n\n".join(parts)


def _age_seconds(time_ns: int | None, now_ns: int) -> float:
    return 0.0 if time_ns is None else max(0.0, round((now_ns - time_ns) / 1e9, 3))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows in columns, the first aligned to the left."""
    lines = [tuple(titles), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
