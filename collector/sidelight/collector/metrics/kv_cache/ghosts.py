"""The ghost list: evicted blocks in the order of their eviction.

A cache that evicts the least recently used block holds the same blocks as a smaller one and, of
those the smaller one evicted, the newest (the inclusion property: Mattson et al., "Evaluation
techniques for storage hierarchies", 1970). So the place of a block in this list is the number of
blocks that the cache would have needed beyond its own to keep it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise


class Ghosts:
    """Evicted blocks with the time of their eviction, in tiers from newest to oldest.

    Tier 1 holds the blocks that the smallest of the larger caches would have kept, tier 2 those
    that the next one would have kept as well, and so on. A block beyond the last tier is
    forgotten. Every operation takes the same time, however many blocks there are.
    """

    def __init__(self, tiers: int) -> None:
        self._tiers: list[OrderedDict[int, float]] = [OrderedDict() for _ in range(tiers)]
        self._sizes = [0] * tiers

    def __len__(self) -> int:
        return sum(map(len, self._tiers))

    def resize(self, limits: Sequence[int]) -> None:
        """Set how many blocks the first tier, the first two tiers, and so on may hold."""
        sizes = [limits[0], *(high - low for low, high in pairwise(limits))]
        if sizes != self._sizes:
            self._sizes = sizes
            self._balance()

    def push(self, key: int, seconds: float) -> None:
        """Add a block that was evicted at this moment, once, even if it is in the list."""
        if self.tier(key) is not None:
            self.remove(key)
        for blocks, size in zip(self._tiers, self._sizes, strict=True):
            blocks[key] = seconds
            if len(blocks) <= size:
                return
            # The oldest of each full tier goes on to the next one.
            key, seconds = blocks.popitem(last=False)

    def tier(self, key: int) -> int | None:
        """The number of the block's tier, from 1; None if it is not in the list."""
        for number, blocks in enumerate(self._tiers, start=1):
            if key in blocks:
                return number
        return None

    def remove(self, key: int) -> float | None:
        """Take a block out of the list. Returns when it was evicted."""
        for number, blocks in enumerate(self._tiers):
            removed_at = blocks.pop(key, None)
            if removed_at is not None:
                for newer, older in pairwise(self._tiers[number:]):
                    if not older:
                        break
                    moved, seconds = older.popitem()
                    newer[moved] = seconds
                    newer.move_to_end(moved, last=False)
                return removed_at
        return None

    def keep(self, is_kept: Callable[[int], bool]) -> None:
        """Forget all blocks but those that `is_kept` selects. The order stays."""
        for number, blocks in enumerate(self._tiers):
            self._tiers[number] = OrderedDict(
                (key, seconds) for key, seconds in blocks.items() if is_kept(key)
            )
        self._balance()

    def clear(self) -> None:
        """Forget all blocks."""
        for blocks in self._tiers:
            blocks.clear()

    def _balance(self) -> None:
        """Move blocks between the tiers until each holds its size, or all that are left."""
        last = len(self._tiers) - 1
        for number, blocks in enumerate(self._tiers):
            size = self._sizes[number]
            while len(blocks) > size:
                key, seconds = blocks.popitem(last=False)
                if number < last:
                    self._tiers[number + 1][key] = seconds
            if number < last and len(blocks) < size:
                self._fill(number, size)

    def _fill(self, number: int, size: int) -> None:
        """Move the newest blocks of the next tiers to the oldest end of this one."""
        blocks = self._tiers[number]
        for older in self._tiers[number + 1 :]:
            while older and len(blocks) < size:
                key, seconds = older.popitem()
                blocks[key] = seconds
                blocks.move_to_end(key, last=False)
