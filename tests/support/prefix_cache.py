"""An exact replay of vLLM's prefix cache, with the KV events that it publishes.

Blocks are freed from the end of a request to its start, a free block stays in the cache until it
is the least recently freed one, and a request holds its blocks until it ends: as in
`vllm/v1/core/block_pool.py` of 0.32.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sidelight.collector.metrics.kv_cache.events import CacheEvent, Removed, Stored

BLOCK_TOKENS = 16


@dataclass
class PrefixCache:
    """A cache of `blocks` blocks; `published` gets the events of each engine step."""

    blocks: int
    published: Callable[[list[CacheEvent]], object] = lambda _: None
    hits: int = 0
    queries: int = 0
    _free: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _held: dict[int, int] = field(default_factory=dict)

    def run(self, prompt: Sequence[int], generated: Sequence[int] = ()) -> None:
        """Serve one request from start to end."""
        self.start(prompt)
        for number, block in enumerate(generated):
            before = generated[number - 1] if number else prompt[-1]
            self.published(self._store([block], before))
        self.end([*prompt, *generated])

    def start(self, prompt: Sequence[int]) -> None:
        """Look up the prompt, hold what is found, and compute the rest."""
        found = 0
        while found < len(prompt) and (prompt[found] in self._free or prompt[found] in self._held):
            found += 1
        self.queries += len(prompt)
        self.hits += found
        for block in prompt[:found]:
            self._free.pop(block, None)
            self._held[block] = self._held.get(block, 0) + 1
        missing = prompt[found:]
        if missing:
            self.published(self._store(missing, prompt[found - 1] if found else None))

    def end(self, blocks: Iterable[int]) -> None:
        """Let go of a request's blocks."""
        for block in reversed(list(blocks)):
            self._held[block] -= 1
            if not self._held[block]:
                del self._held[block]
                self._free[block] = None

    def _store(self, blocks: Sequence[int], parent: int | None) -> list[CacheEvent]:
        events: list[CacheEvent] = []
        for allocated in range(len(blocks)):
            if len(self._free) + len(self._held) + allocated >= self.blocks:
                evicted, _none = self._free.popitem(last=False)
                events.append(Removed((evicted,)))
        for block in blocks:
            # A block behind a missing one may still be in the cache.
            self._free.pop(block, None)
            self._held[block] = self._held.get(block, 0) + 1
        return [*events, Stored(tuple(blocks), parent, BLOCK_TOKENS)]
