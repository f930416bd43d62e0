"""The newest entries stay in memory, and no more bytes of them than allowed."""

from __future__ import annotations

from sidelight.collector.log.disk.recent_entries import RecentEntries
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record


def _at(number: int) -> Position:
    return Position(0, 1, number)


def _entry(number: int, size: int) -> Entry:
    record = Record("traces", bytes(size), 1, 0)
    return Entry(record, _at(number), _at(number + 1), 0)


def test_the_oldest_go_first() -> None:
    """As soon as the bytes are too many."""
    recent = RecentEntries(max_bytes=10)
    entries = [_entry(number, 4) for number in range(4)]
    for entry in entries:
        recent.put(entry)
    assert [recent.get(_at(number)) for number in range(4)] == [None, None, *entries[2:]]


def test_one_that_is_too_large_is_not_kept() -> None:
    """And what comes after it is."""
    recent = RecentEntries(max_bytes=10)
    small = _entry(2, 1)
    recent.put(_entry(1, 11))
    recent.put(small)
    assert (recent.get(_at(1)), recent.get(_at(2))) == (None, small)


def test_cleared_it_has_room_again() -> None:
    """For all that fits."""
    recent = RecentEntries(max_bytes=10)
    second = _entry(2, 10)
    recent.put(_entry(1, 10))
    recent.clear()
    recent.put(second)
    assert (recent.get(_at(1)), recent.get(_at(2))) == (None, second)
