"""Rebuilds from KV events what is in the cache, and tells what a larger one would have saved.

Pure: events in, changes out. Events tell of blocks that are stored and evicted, not of hits. That
is enough: of least recently used blocks the engine evicts the oldest, so its evictions are in the
order of last use, hits included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sidelight.collector.metrics.kv_cache.changes import CACHE_SIZES, CacheChanges, StoredKind
from sidelight.collector.metrics.kv_cache.events import CacheEvent, Cleared, Removed, Stored
from sidelight.collector.metrics.kv_cache.ghosts import Ghosts
from sidelight.collector.metrics.kv_cache.sampling import Sample

# The last blocks of chains that may go on: a running request has one. The default of vLLM's
# `max_num_seqs` is 256 to 1,024.
_MAX_TIPS: Final = 4_096
# While the blocks from before are replaced, as many are evicted as are seen to be stored. So the
# size observed so far is the whole size only once more than that were evicted.
_TURNOVERS_TO_KNOW_SIZE: Final = 2.0
_RESIDENT: Final = 0
_BEYOND: Final = len(CACHE_SIZES) + 1


class CacheModel:
    """The cache of one engine.

    `blocks` is its size. Without it, the largest number of blocks that were in the cache at one
    time is taken, which lacks the few that running requests have not filled yet. At most
    `max_tracked` blocks are held in memory, in the cache or evicted; beyond that, a sample.
    """

    def __init__(self, blocks: int | None, max_tracked: int) -> None:
        self._configured = blocks
        self._max_tracked = max_tracked
        self._sample = Sample()
        self._stored_at: dict[int, float] = {}
        self._ghosts = Ghosts(len(CACHE_SIZES))
        self._tips: dict[int, tuple[int, int]] = {}
        self._batch = 0
        self._most_blocks = 0
        self._evicted_since_reset = 0
        self._is_whole = False
        self._resize()

    @property
    def capacity(self) -> int:
        """The size of the cache in blocks, configured or observed so far."""
        return self._configured or self._most_blocks

    @property
    def sampled_share(self) -> float:
        """The share of blocks that is tracked."""
        return 1 / self._sample.scale

    @property
    def tracked(self) -> int:
        """How many blocks are held in memory."""
        return len(self._stored_at) + len(self._ghosts)

    def is_complete(self, size: int) -> bool:
        """Whether extra hits of the cache size with this index are known.

        After a reset in the middle of a stream this takes as many evictions as the larger cache
        has more blocks: only then are all blocks known that it would have kept.
        """
        if self._is_whole:
            return True
        needed = CACHE_SIZES[size] - 1
        if self._configured is None:
            needed = max(needed, _TURNOVERS_TO_KNOW_SIZE)
        return 0 < needed * self.capacity <= self._evicted_since_reset

    def reset(self, *, is_empty: bool, is_new_engine: bool = False) -> None:
        """Forget all blocks: events are missing, or the engine has emptied its cache.

        `is_empty`: the cache is known to be empty now, so nothing is missing.
        """
        self._stored_at.clear()
        self._ghosts.clear()
        self._tips.clear()
        self._evicted_since_reset = 0
        self._is_whole = is_empty
        if is_new_engine:
            self._most_blocks = 0
            self._sample = Sample()
            self._resize()

    def apply(self, events: Iterable[CacheEvent], seconds: float) -> CacheChanges:
        """Take in the events of one engine step, at a time of the engine's clock."""
        changes = CacheChanges()
        self._batch += 1
        # Blocks evicted to make room for a request whose own blocks are stored next. For its
        # lookup, which came first, they were still in the cache.
        pending: dict[int, float] = {}
        for event in events:
            if isinstance(event, Stored):
                self._store(event, seconds, pending, changes)
                self._flush(pending)
            elif isinstance(event, Removed):
                self._remove(event.blocks, seconds, pending, changes)
            elif isinstance(event, Cleared):
                changes.cleared += 1
                pending.clear()
                self.reset(is_empty=True)
        self._flush(pending)
        self._observe_size()
        return changes

    def _store(
        self, event: Stored, seconds: float, pending: dict[int, float], changes: CacheChanges
    ) -> None:
        is_generated, reached = self._continued(event)
        scale = self._sample.scale
        tokens = event.block_tokens * scale
        tracked = (
            event.blocks if scale == 1 else [key for key in event.blocks if key in self._sample]
        )
        # All are looked up before any is stored, as the engine does: storing one moves the others.
        places = [self._place(key, pending) for key in tracked]
        for key, place in zip(tracked, places, strict=True):
            # A hit needs all blocks of the prompt before it: the one farthest away decides.
            reached = max(reached, place)
            kind = self._move(key, place, seconds, pending, changes)
            changes.stored["generated" if is_generated else kind] += tokens
            if not is_generated and _RESIDENT < reached < _BEYOND:
                self._count_extra_hits(reached, tokens, changes)
        if event.blocks:
            self._tips[event.blocks[-1]] = (self._batch, reached)
            if len(self._tips) > _MAX_TIPS:
                del self._tips[next(iter(self._tips))]

    def _continued(self, event: Stored) -> tuple[bool, int]:
        """Whether decode filled the block, and the tier that the chain before it needs.

        Prefill stores all blocks of a chunk at once and decode one at a time, which continues
        the chain that the same request stored last.
        """
        tip = None if event.parent is None else self._tips.pop(event.parent, None)
        if tip is None:
            return False, _RESIDENT
        batch, reached = tip
        return len(event.blocks) == 1 and batch < self._batch, reached

    def _place(self, key: int, pending: dict[int, float]) -> int:
        if key in self._stored_at or key in pending:
            return _RESIDENT
        return self._ghosts.tier(key) or _BEYOND

    def _move(
        self,
        key: int,
        place: int,
        seconds: float,
        pending: dict[int, float],
        changes: CacheChanges,
    ) -> StoredKind:
        """Put a block into the cache, and tell where it came from."""
        if key in self._stored_at:
            return "copy"
        self._stored_at[key] = seconds
        # An event may name a block twice; the second is a copy by now.
        evicted_at = pending.pop(key, None)
        if evicted_at is None and place != _BEYOND:
            evicted_at = self._ghosts.remove(key)
        if evicted_at is None:
            return "new"
        changes.absences.append(max(0.0, seconds - evicted_at))
        return "again"

    def _count_extra_hits(self, tier: int, tokens: int, changes: CacheChanges) -> None:
        # A larger cache than the one that keeps the block keeps it too.
        for size in range(tier - 1, len(CACHE_SIZES)):
            if self.is_complete(size):
                changes.extra_hits[size] += tokens

    def _remove(
        self,
        blocks: Sequence[int],
        seconds: float,
        pending: dict[int, float],
        changes: CacheChanges,
    ) -> None:
        changes.evicted += len(blocks)
        self._evicted_since_reset += len(blocks)
        for key in blocks:
            if key not in self._sample:
                continue
            stored_at = self._stored_at.pop(key, None)
            if stored_at is not None:
                changes.lifetimes.append(max(0.0, seconds - stored_at))
            # The storing may have been missed. Of several copies the first counts here, and the
            # last one to be evicted decides the place in the ghost list.
            pending[key] = seconds

    def _flush(self, pending: dict[int, float]) -> None:
        for key, seconds in pending.items():
            self._ghosts.push(key, seconds)
        pending.clear()

    def _observe_size(self) -> None:
        blocks = len(self._stored_at) * self._sample.scale
        if blocks > self._most_blocks:
            self._most_blocks = blocks
            self._resize()
        while self.tracked > self._max_tracked:
            self._sample.halve()
            self._stored_at = {
                key: seconds for key, seconds in self._stored_at.items() if key in self._sample
            }
            self._ghosts.keep(self._sample.__contains__)
            self._resize()

    def _resize(self) -> None:
        self._ghosts.resize(
            [round((size - 1) * self.capacity / self._sample.scale) for size in CACHE_SIZES]
        )
