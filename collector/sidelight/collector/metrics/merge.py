"""The snapshots of several workers as one: sums are exact, and never go back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, cast

from sidelight import conventions
from sidelight.collector.metrics.family import Family, FamilyType, labels, number
from sidelight.collector.metrics.snapshot import ReceivedFamily, ReceivedSeries, Snapshot

# A quoted label value may hold anything, braces and # included.
_LINE: Final = re.compile(
    r'(?P<name>[^ {]+)(?P<labels>\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})? (?P<value>\S+)(?P<mark>.*)'
)
_ACROSS: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "sum": sum,
    "max": max,
    "min": min,
}
_SUMMED: Final = ("counter", "histogram")
# Longer than a series is shown after its last update.
_FORGOTTEN_SECONDS: Final = 600.0
_RULES: Final = {
    conventions.prometheus_name(each.name): each.across for each in conventions.METRICS.values()
}


def of_one(families: Iterable[Family], worker: str) -> list[Family]:
    """What says something of a process alone (its memory, its files) with a label for it."""
    return [
        Family(each.name, each.type, each.help, _labelled(each.body, worker))
        for each in families
        if each.name.startswith("process_")
    ]


def merged(snapshots: Mapping[str, Snapshot], gone: Snapshot, now: float) -> list[Family]:
    """All families of the workers there are, by name, and of those that are gone.

    `now` is on the machine's monotonic clock.
    """
    found: list[Family] = []
    for worker, snapshot in snapshots.items():
        found += of_one(snapshot.own, worker)
    everything = [*snapshots.values(), gone]
    found += _own(each for snapshot in everything for each in snapshot.own)
    for family in _received(everything, now):
        body = "".join(series.lines for series in family.series)
        found.append(Family(family.name, cast(FamilyType, family.type), family.help, body))
    for snapshot in everything:
        found += snapshot.scraped
    return found


def what_stays(gone: Snapshot, last: Snapshot, now: float) -> Snapshot:
    """What is still to be counted after a worker is gone: its sums, as they were last known."""
    own = [each for each in (*gone.own, *last.own) if each.type in _SUMMED]
    received = [
        ReceivedFamily(each.name, each.type, each.help, deltas)
        for each in _received([gone, last], now)
        if (deltas := [series for series in each.series if series.is_delta])
    ]
    return Snapshot(own=_own(own), received=received)


def without_exemplars(snapshot: Snapshot) -> Snapshot:
    """The same where no format with exemplars may be wanted."""
    return Snapshot(
        [Family(each.name, each.type, each.help, _plain(each.body)) for each in snapshot.own],
        snapshot.scraped,
        [
            ReceivedFamily(
                family.name,
                family.type,
                family.help,
                [replace(each, lines=_plain(each.lines)) for each in family.series],
            )
            for family in snapshot.received
        ],
    )


def _own(families: Iterable[Family]) -> list[Family]:
    grouped: dict[str, list[Family]] = {}
    for family in families:
        if not family.name.startswith("process_"):
            grouped.setdefault(family.name, []).append(family)
    found = []
    for name, alike in grouped.items():
        across = _RULES.get(name, "sum") if alike[0].type == "gauge" else "sum"
        body = _combined((each.body for each in alike), _ACROSS[across])
        found.append(Family(name, alike[0].type, alike[0].help, body))
    return found


def _received(snapshots: Iterable[Snapshot], now: float) -> list[ReceivedFamily]:
    """Each series once; of a family with two types the first one's is kept."""
    families: dict[str, ReceivedFamily] = {}
    series: dict[str, dict[str, ReceivedSeries]] = {}
    for snapshot in snapshots:
        for family in snapshot.received:
            first = families.setdefault(
                family.name, ReceivedFamily(family.name, family.type, family.help)
            )
            if first.type != family.type:
                continue
            kept = series.setdefault(family.name, {})
            for each in family.series:
                if now - each.seen < _FORGOTTEN_SECONDS:
                    kept[each.labels] = _one_of(kept.get(each.labels), each)
    for name, family in families.items():
        family.series = list(series.get(name, {}).values())
    return [each for each in families.values() if each.series]


def _one_of(before: ReceivedSeries | None, other: ReceivedSeries) -> ReceivedSeries:
    if before is None:
        return other
    newest = max(before, other, key=lambda each: each.seen)
    if not (before.is_delta and other.is_delta):
        return newest
    lines = _combined([before.lines, other.lines], sum)
    return ReceivedSeries(newest.labels, newest.seen, is_delta=True, lines=lines)


def _combined(bodies: Iterable[str], across: Callable[[Iterable[float]], float]) -> str:
    """Samples of the same name and labels as one, in the order in which they first came."""
    values: dict[str, list[str]] = {}
    marks: dict[str, str] = {}
    for body in bodies:
        # Not splitlines(): a label value may hold what else ends lines.
        for line in body.split("\n"):
            found = _LINE.fullmatch(line)
            if found is None:
                continue
            key = f"{found['name']}{found['labels'] or ''}"
            values.setdefault(key, []).append(found["value"])
            marks[key] = _newest(marks.get(key, ""), found["mark"])
    return "".join(f"{key} {_number(texts, across)}{marks[key]}\n" for key, texts in values.items())


def _number(texts: list[str], across: Callable[[Iterable[float]], float]) -> str:
    if len(texts) == 1:
        return texts[0]
    if all(each.isdecimal() for each in texts):
        return str(across([int(each) for each in texts]))
    return number(across([float(each) for each in texts]))


def _newest(one: str, other: str) -> str:
    """The exemplar whose time, its last word, is the later one."""
    if not (one and other):
        return one or other
    return max(one, other, key=lambda mark: float(mark.rpartition(" ")[2]))


def _plain(body: str) -> str:
    return "".join(
        f"{found['name']}{found['labels'] or ''} {found['value']}\n"
        for line in body.split("\n")
        if (found := _LINE.fullmatch(line)) is not None
    )


def _labelled(body: str, worker: str) -> str:
    mark = labels({"worker": worker})
    return "".join(
        f"{found['name']}{{{mark}}} {found['value']}\n"
        for line in body.split("\n")
        if (found := _LINE.fullmatch(line)) is not None
    )
