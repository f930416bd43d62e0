"""What one batch of KV events changed, ready to be counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

StoredKind = Literal["new", "again", "copy", "generated"]
"""What storing a block means.

- `new`: not known. Never stored, or evicted longer ago than the largest cache would remember.
- `again`: evicted before, and computed once more. A capacity miss.
- `copy`: in the cache already. Two requests computed it at the same time, or the engine
  computed the last block of a prompt that it has in full.
- `generated`: filled by decode, one token after the other. No cache saves that.
"""

STORED_KINDS: Final[tuple[StoredKind, ...]] = ("new", "again", "copy", "generated")

CACHE_SIZES: Final = (1.25, 1.5, 2.0, 4.0)
"""The cache sizes that are compared with the actual one, as multiples of it."""


@dataclass(slots=True)
class CacheChanges:
    """Tokens stored by kind, blocks evicted, clearings, and what larger caches would have kept.

    `extra_hits` are tokens that a cache of each of `CACHE_SIZES` would have found and the actual
    one computed. `lifetimes` are the seconds from storing to eviction, `absences` those from
    eviction to storing again; of a sample of the blocks.
    """

    stored: dict[StoredKind, int] = field(default_factory=lambda: dict.fromkeys(STORED_KINDS, 0))
    evicted: int = 0
    cleared: int = 0
    extra_hits: list[int] = field(default_factory=lambda: [0] * len(CACHE_SIZES))
    lifetimes: list[float] = field(default_factory=list)
    absences: list[float] = field(default_factory=list)
