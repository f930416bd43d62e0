"""What KV events cost the collector: CPU time for each block, and memory for each that is followed.

    PYTHONPATH=tests python -m bench.kv_events

No sockets: messages as vLLM encodes them are decoded and taken in.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator

import msgspec

from sidelight.collector.metrics.kv_cache.cache_model import CacheModel
from sidelight.collector.receivers.kv_events.messages import decode
from support.kv_publisher import removed, stored

CACHE_BLOCKS = 30_000
DISTINCT_BLOCKS = 200_000
BLOCKS_A_MESSAGE = 64
WARM_UP_MESSAGES = 4_000
MEASURED_MESSAGES = 1_000
RUNS = 7


def messages(seed: int) -> Iterator[bytes]:
    """Steps of an engine whose cache is full: each block that is stored evicts another."""
    chance = random.Random(seed)
    blocks = [chance.getrandbits(64) for _ in range(DISTINCT_BLOCKS)]
    cache: deque[int] = deque()
    while True:
        prompt = chance.sample(blocks, BLOCKS_A_MESSAGE)
        excess = max(0, len(cache) + len(prompt) - CACHE_BLOCKS)
        evictions = [removed(cache.popleft()) for _ in range(excess)]
        cache.extend(prompt)
        yield msgspec.msgpack.encode([1.0, [*evictions, stored(*prompt)], 0])


def take(model: CacheModel, payload: bytes) -> None:
    """What the receiver does with a message."""
    batch = decode(payload)
    model.apply(batch.events, batch.seconds)


def measured(max_tracked: int) -> tuple[list[float], float, CacheModel]:
    """Microseconds a block in each run, and the bytes of all blocks that are followed."""
    model = CacheModel(CACHE_BLOCKS, max_tracked)
    model.reset(is_empty=True)
    made = messages(1)
    tracemalloc.start()
    for _ in range(WARM_UP_MESSAGES):
        take(model, next(made))
    gc.collect()
    places = ("*/kv_cache/*", "*/kv_events/messages*")
    kept = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, place) for place in places]
    )
    memory = sum(trace.size for trace in kept.statistics("filename"))
    tracemalloc.stop()
    runs = []
    for _ in range(RUNS):
        payloads = [next(made) for _ in range(MEASURED_MESSAGES)]
        start = time.process_time()
        for payload in payloads:
            take(model, payload)
        seconds = time.process_time() - start
        runs.append(1e6 * seconds / MEASURED_MESSAGES / BLOCKS_A_MESSAGE)
    return runs, memory, model


def main() -> None:
    """Print the figures as a table."""
    print("| followed at most | share | µs a block | MB | bytes a block followed |")
    print("|---|---|---|---|---|")
    for max_tracked in (8_192, 32_768, 131_072):
        runs, memory, model = measured(max_tracked)
        print(
            f"| {max_tracked:,} | {model.sampled_share:g} | {statistics.median(runs):.1f} "
            f"({min(runs):.1f} to {max(runs):.1f}) | {memory / 1e6:.1f} "
            f"| {memory / model.tracked:.0f} |"
        )


if __name__ == "__main__":
    main()
