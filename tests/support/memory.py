"""What a part of the product holds in memory, whatever else goes on in the tests' process."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Held:
    """Bytes, known once the block is left."""

    bytes: int = 0


@contextmanager
def held_by(*files: str) -> Iterator[Held]:
    """What lines of these files allocate within the block, and is still there at its end.

    `files` are patterns. Threads that earlier tests have left behind allocate too, elsewhere.
    """
    held = Held()
    tracemalloc.start()
    try:
        yield held
        lines = [tracemalloc.Filter(True, pattern) for pattern in files]
        statistics = tracemalloc.take_snapshot().filter_traces(lines).statistics("filename")
        held.bytes = sum(statistic.size for statistic in statistics)
    finally:
        tracemalloc.stop()
