"""Samples blocks by their hash, so that memory stays bounded whatever the size of the cache.

A block is in the sample or not for all its life, and distances measured within the sample, scaled
up, are those of all blocks (SHARDS: Waldspurger et al., "Efficient MRC construction with SHARDS",
FAST 2015).
"""

from __future__ import annotations

# Hashes of vLLM's default algorithms are even already. Those of others may have equal low bits, so
# a multiplication mixes them (Fibonacci hashing, Knuth 6.4).
_MULTIPLIER = 0x9E3779B97F4A7C15
_BITS = 64
_MASK = (1 << _BITS) - 1


class Sample:
    """The share of all blocks that is tracked: 1, 1/2, 1/4 and so on."""

    __slots__ = ("halvings",)

    def __init__(self) -> None:
        self.halvings = 0

    @property
    def scale(self) -> int:
        """How many blocks a tracked one represents."""
        return 1 << self.halvings

    def __contains__(self, key: int) -> bool:
        return self.halvings == 0 or ((key * _MULTIPLIER) & _MASK) >> (_BITS - self.halvings) == 0

    def halve(self) -> None:
        """Track half of the blocks that are tracked now."""
        self.halvings += 1
