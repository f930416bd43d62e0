"""The ghost list against a plain list of evicted blocks."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from sidelight.collector.metrics.kv_cache.ghosts import Ghosts

KEYS = st.integers(0, 12)
LIMITS = st.lists(st.integers(0, 8), min_size=3, max_size=3).map(sorted)


class ListedGhosts:
    """The same, with all blocks in one list, newest first."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.limits = [0, 0, 0]

    def push(self, key: int) -> None:
        """As `Ghosts.push`."""
        self.remove(key)
        self.keys = [key, *self.keys][: self.limits[-1]]

    def remove(self, key: int) -> None:
        """As `Ghosts.remove`."""
        self.keys = [kept for kept in self.keys if kept != key]

    def resize(self, limits: list[int]) -> None:
        """As `Ghosts.resize`."""
        self.limits = limits
        self.keys = self.keys[: limits[-1]]

    def tier(self, key: int) -> int | None:
        """As `Ghosts.tier`."""
        return bisect_right(self.limits, self.keys.index(key)) + 1 if key in self.keys else None


@given(
    LIMITS,
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), KEYS),
            st.tuples(st.just("remove"), KEYS),
            st.tuples(st.just("resize"), LIMITS),
            st.tuples(st.just("keep"), KEYS),
        )
    ),
)
def test_each_block_is_in_the_tier_of_its_place(
    limits: list[int], steps: list[tuple[str, int | list[int]]]
) -> None:
    """Whatever was evicted, stored again or resized before."""
    ghosts, listed = Ghosts(3), ListedGhosts()
    ghosts.resize(limits)
    listed.resize(limits)
    for name, value in steps:
        match name, value:
            case "push", int(key):
                ghosts.push(key, 1.0)
                listed.push(key)
            case "remove", int(key):
                assert (ghosts.remove(key) is None) == (key not in listed.keys)
                listed.remove(key)
            case "keep", int(least):
                ghosts.keep(range(least, 100).__contains__)
                listed.keys = [key for key in listed.keys if key >= least]
            case _, list(sizes):
                ghosts.resize(sizes)
                listed.resize(sizes)
        assert len(ghosts) == len(listed.keys)
        assert [ghosts.tier(key) for key in range(13)] == [listed.tier(key) for key in range(13)]


def test_the_time_of_eviction_is_returned() -> None:
    """Of the last one."""
    ghosts = Ghosts(2)
    ghosts.resize([1, 2])
    ghosts.push(7, 1.5)
    ghosts.push(8, 2.0)
    assert ghosts.remove(7) == 1.5
    assert ghosts.remove(7) is None
