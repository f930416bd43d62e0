"""The newest records are kept in memory, and no more of them than allowed."""

from __future__ import annotations

from sidelight.collector.log.disk.recent import Recent


def test_the_oldest_go_first_and_bytes_are_bounded() -> None:
    """What is over the bound is let go of in the order it came."""
    recent: Recent[int, str] = Recent(max_bytes=10)
    for key in range(4):
        recent.put(key, f"value {key}", 4)
    assert [recent.get(key) for key in range(4)] == [None, None, "value 2", "value 3"]


def test_what_alone_is_too_large_is_not_kept() -> None:
    """A value above the bound takes the place of none for long."""
    recent: Recent[int, str] = Recent(max_bytes=10)
    recent.put(1, "large", 11)
    recent.put(2, "small", 1)
    assert (recent.get(1), recent.get(2)) == (None, "small")


def test_after_clearing_all_room_is_free() -> None:
    """Nothing is left and nothing is counted."""
    recent: Recent[int, str] = Recent(max_bytes=10)
    recent.put(1, "one", 10)
    recent.clear()
    recent.put(2, "two", 10)
    assert (recent.get(1), recent.get(2)) == (None, "two")
