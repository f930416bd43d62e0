"""What retention deletes, as a table: the decision needs no files."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from sidelight.collector.log.retention import (
    Deletion,
    RetentionPolicy,
    SegmentState,
    deletions,
)

_DAY = 86400.0
_WIDE = RetentionPolicy(max_bytes=1 << 40, max_age_seconds=7 * _DAY)


def chosen(
    policy: RetentionPolicy,
    cursors: Mapping[str, int],
    *,
    age_seconds: float = 60,
    uptime_seconds: float = 30 * _DAY,
) -> list[Deletion]:
    """Of four segments of 10 bytes."""
    segments = [SegmentState(number, 10, age_seconds) for number in (1, 5, 8, 9)]
    return deletions(segments, cursors, policy, uptime_seconds=uptime_seconds)


def test_what_all_have_passed_goes_without_a_reason() -> None:
    """Up to the slowest cursor; the newest segment stays."""
    assert chosen(_WIDE, {"fast": 9, "slow": 8}) == [Deletion(1, None, ()), Deletion(5, None, ())]
    assert [each.segment for each in chosen(_WIDE, {"only": 9})] == [1, 5, 8]


def test_what_is_kept_for_a_replay() -> None:
    """As long as it is young and within its bytes; the limit on all bytes comes first."""
    keep = RetentionPolicy(1 << 40, 7 * _DAY, keep_seconds=3600, keep_bytes=20)
    assert [each.segment for each in chosen(keep, {"only": 9})] == [1]
    assert [each.segment for each in chosen(keep, {"only": 9}, age_seconds=7200)] == [1, 5, 8]
    small = RetentionPolicy(20, 7 * _DAY, keep_seconds=3600, keep_bytes=1 << 40)
    assert chosen(small, {"only": 9}) == [Deletion(1, None, ()), Deletion(5, None, ())]


def test_over_the_limit_the_oldest_is_dropped() -> None:
    """With the names of those that lose it."""
    small = RetentionPolicy(max_bytes=25, max_age_seconds=7 * _DAY)
    assert chosen(small, {"fast": 9, "slow": 1, "middle": 5}) == [
        Deletion(1, "size", ("slow",)),
        Deletion(5, "size", ("slow", "middle")),
    ]


def test_age_needs_time_to_fetch() -> None:
    """An hour after a start, or the age limit itself if that is shorter."""
    aged = Deletion(1, "age", ("slow",))
    old = {"age_seconds": 8 * _DAY}
    assert chosen(_WIDE, {"slow": 1}, **old)[0] == aged
    assert chosen(_WIDE, {"slow": 1}, **old, uptime_seconds=3599) == []
    assert chosen(_WIDE, {"slow": 1}, **old, uptime_seconds=3601)[0] == aged
    short = RetentionPolicy(1 << 40, max_age_seconds=10)
    assert chosen(short, {"slow": 1}, uptime_seconds=9) == []
    assert chosen(short, {"slow": 1}, uptime_seconds=11)[0] == aged


def test_without_subscriptions_only_the_limits_count() -> None:
    """Data waits for a destination; nobody loses what goes."""
    assert chosen(_WIDE, {}) == []
    small = RetentionPolicy(max_bytes=35, max_age_seconds=7 * _DAY)
    assert chosen(small, {}) == [Deletion(1, "size", ())]


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
    st.builds(
        RetentionPolicy,
        st.integers(0, 500),
        st.integers(0, 100),
        st.integers(0, 100),
        st.integers(0, 500),
    ),
    st.integers(0, 200),
)
def test_it_takes_the_oldest_and_says_who_loses(
    sizes_and_ages: list[tuple[int, int]],
    cursors: dict[str, int],
    policy: RetentionPolicy,
    uptime: int,
) -> None:
    """Always a run from the oldest on, never the newest; within the limit at the end; a reason
    exactly where somebody is behind or nobody reads; and what is deleted twice is nothing.
    """
    segments = [SegmentState(at + 1, *each) for at, each in enumerate(sizes_and_ages)]
    chosen = deletions(segments, cursors, policy, uptime_seconds=uptime)
    numbers = [each.segment for each in chosen]
    assert numbers == [each.number for each in segments[: len(numbers)]]
    left = segments[len(numbers) :]
    assert bool(left) == bool(segments)
    assert len(left) <= 1 or sum(each.size_bytes for each in left) <= policy.max_bytes
    for each in chosen:
        behind = tuple(name for name, at in cursors.items() if at <= each.segment)
        assert each.behind == behind
        assert (each.reason is None) == (bool(cursors) and not behind)
    assert deletions(left, cursors, policy, uptime_seconds=uptime) == []
