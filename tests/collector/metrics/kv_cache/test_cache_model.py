"""What the model says of larger caches against exact replays of caches of these sizes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.collector.metrics.kv_cache.cache_model import CacheModel
from sidelight.collector.metrics.kv_cache.changes import CACHE_SIZES, CacheChanges
from sidelight.collector.metrics.kv_cache.events import CacheEvent, Cleared, Removed, Stored
from support.prefix_cache import BLOCK_TOKENS, PrefixCache

Request = tuple[list[int], list[int]]
"""The blocks of a prompt and those that are generated after it."""
ALL = 1_000_000


@dataclass
class Watched:
    """A model and the sums of what it said."""

    model: CacheModel
    extra_hits: list[int] = field(default_factory=lambda: [0] * len(CACHE_SIZES))
    stored: dict[str, int] = field(default_factory=dict)
    lifetimes: list[float] = field(default_factory=list)
    absences: list[float] = field(default_factory=list)
    now: float = 0.0

    def step(self, events: Iterable[CacheEvent]) -> CacheChanges:
        """One engine step; each takes a second."""
        self.now += 1.0
        changes = self.model.apply(events, self.now)
        for size, tokens in enumerate(changes.extra_hits):
            self.extra_hits[size] += tokens
        for kind, tokens in changes.stored.items():
            self.stored[kind] = self.stored.get(kind, 0) + tokens // BLOCK_TOKENS
        self.lifetimes += changes.lifetimes
        self.absences += changes.absences
        return changes


def watched(blocks: int | None, max_tracked: int = ALL, *, is_empty: bool = True) -> Watched:
    """A model of an engine that has just started, or one that runs already."""
    model = CacheModel(blocks, max_tracked)
    model.reset(is_empty=is_empty)
    return Watched(model)


def replay(
    requests: Sequence[Request], blocks: int, watch: Watched | None = None, concurrency: int = 1
) -> PrefixCache:
    """Serve all requests, of which `concurrency` hold their blocks at a time."""
    cache = PrefixCache(blocks) if watch is None else PrefixCache(blocks, watch.step)
    running: list[list[int]] = []
    for prompt, generated in requests:
        if concurrency == 1:
            cache.run(prompt, generated)
            continue
        if len(running) == concurrency:
            cache.end(running.pop(0))
        cache.start(prompt)
        running.append(prompt)
    return cache


def chats(seed: int, requests: int, documents: int) -> list[Request]:
    """Chats about documents, some far more often than others; half of the answers repeat."""
    chance = random.Random(seed)
    keys: dict[tuple[object, ...], int] = {}

    def key(*path: object) -> int:
        return keys.setdefault(path, chance.getrandbits(64))

    made: list[Request] = []
    for number in range(requests):
        document = int(chance.paretovariate(0.7)) % documents
        turns = chance.randint(1, 8)
        prompt = [key("system", block) for block in range(3)]
        prompt += [key(document, block) for block in range(2 * turns)]
        if chance.random() < 0.3:
            prompt += [key("only", number, block) for block in range(chance.randint(1, 4))]
        answer = number if chance.random() < 0.5 else 0
        blocks = range(chance.randint(0, 4))
        made.append((prompt, [key(document, "answer", turns, answer, block) for block in blocks]))
    return made


def points(small: PrefixCache, large: PrefixCache) -> float:
    """By how many points the hit ratio of the large cache is higher."""
    return 100 * (large.hits - small.hits) / small.queries


def estimated(watch: Watched, size: int, small: PrefixCache) -> float:
    """The same, as the model sees it."""
    return 100 * watch.extra_hits[size] / BLOCK_TOKENS / small.queries


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("blocks", "concurrency"), [(60, 1), (222, 1), (192, 6), (632, 6)])
def test_extra_hits_are_those_of_an_exact_replay(seed: int, blocks: int, concurrency: int) -> None:
    """Within a point of the hit ratio, with many requests at a time as well.

    The first block of a repeated answer looks like one of a prompt: most of the difference.
    """
    requests = chats(seed, 3000, 300)
    watch = watched(blocks)
    small = replay(requests, blocks, watch, concurrency)
    for size, multiple in enumerate(CACHE_SIZES):
        large = replay(requests, round(blocks * multiple), concurrency=concurrency)
        assert estimated(watch, size, small) == pytest.approx(points(small, large), abs=1)


def test_a_sample_is_within_two_points() -> None:
    """With a memory for an eighth of the blocks; the size is learnt from the events too."""
    requests = chats(1, 12_000, 3000)
    watch = watched(None, max_tracked=2048)
    small = replay(requests, 4000, watch)
    assert watch.model.sampled_share <= 0.25
    assert watch.model.tracked <= 2048
    assert watch.model.capacity == pytest.approx(4000, rel=0.1)
    for size, multiple in enumerate(CACHE_SIZES):
        large = replay(requests, round(4000 * multiple))
        assert estimated(watch, size, small) == pytest.approx(points(small, large), abs=2)


# Prompts as paths through a tree: a block's key says all that comes before it, as vLLM's hash does.
PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=80)


@settings(max_examples=200)
@given(PROMPTS, st.integers(2, 6).map(lambda quarter: 4 * quarter))
def test_any_prompts_one_at_a_time(prompts: list[list[int]], blocks: int) -> None:
    """To the block: nothing is sampled and nothing runs beside it."""
    requests: list[Request] = []
    for prompt in prompts:
        path, key = [], 1
        for choice in prompt:
            key = key * 3 + choice
            path.append(key)
        requests.append((path, []))
    watch = watched(blocks)
    small = replay(requests, blocks, watch)
    # A single new block looks like one that decode has filled, if its parent was stored last.
    generated = watch.stored.get("generated", 0) * BLOCK_TOKENS
    for size, multiple in enumerate(CACHE_SIZES):
        large = replay(requests, round(blocks * multiple))
        gained = (large.hits - small.hits) * BLOCK_TOKENS
        assert gained - generated <= watch.extra_hits[size] <= gained


class TestWhatStoringMeans:
    def test_kinds(self) -> None:
        """New, again after an eviction, and a copy of one that is there."""
        watch = watched(4)
        watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
        watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
        watch.step([Removed((2,)), Removed((1,))])
        watch.step([Removed((2,)), Removed((1,))])
        watch.step([Stored((1, 3), None, BLOCK_TOKENS)])
        assert watch.stored == {"new": 3, "again": 1, "copy": 2, "generated": 0}
        # The block is gone with its last copy.
        assert watch.lifetimes == [2.0, 2.0]
        assert watch.absences == [1.0]

    def test_what_decode_fills_is_no_miss(self) -> None:
        """A repeated answer is computed in a cache of any size."""
        watch = watched(2)
        for _ in range(2):
            watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
            watch.step([Stored((3,), 2, BLOCK_TOKENS)])
            watch.step([Stored((4,), 3, BLOCK_TOKENS)])
            watch.step([Removed((4,)), Removed((3,)), Removed((2,)), Removed((1,))])
        assert watch.stored == {"new": 2, "again": 2, "copy": 0, "generated": 4}
        assert watch.extra_hits[-1] == 2 * BLOCK_TOKENS

    def test_a_chunk_continues_its_prompt(self) -> None:
        """A block whose prompt begins with a new one cannot be hit, however near it is."""
        watch = watched(4)
        watch.step([Stored((1, 2, 3, 4), None, BLOCK_TOKENS)])
        watch.step([Removed((4,)), Removed((3,)), Removed((2,)), Removed((1,))])
        watch.step([Stored((9, 8), None, BLOCK_TOKENS)])
        watch.step([Stored((3, 4), 8, BLOCK_TOKENS)])
        assert watch.stored["again"] == 2
        assert watch.extra_hits == [0, 0, 0, 0]

    def test_a_block_evicted_for_its_own_request_was_there(self) -> None:
        """The lookup came before the eviction."""
        watch = watched(2)
        watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
        watch.step([Removed((2,)), Removed((1,)), Stored((1, 2), None, BLOCK_TOKENS)])
        assert watch.extra_hits == [0, 0, 0, 0]


class TestMissingEvents:
    def test_nothing_is_counted_until_the_list_is_whole(self) -> None:
        """After a gap the evicted blocks of a larger cache are not known for a while."""
        watch = watched(4, is_empty=False)
        complete = [watch.model.is_complete(size) for size in range(len(CACHE_SIZES))]
        assert complete == [False] * 4
        watch.step([Removed((1,)), Removed((2,))])
        watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
        complete = [watch.model.is_complete(size) for size in range(len(CACHE_SIZES))]
        assert complete == [True, True, False, False]
        assert watch.extra_hits == [0, 2 * BLOCK_TOKENS, 0, 0]

    def test_the_size_must_be_known_first(self) -> None:
        """Joining a full cache, the blocks seen so far are not all that it holds."""
        requests = chats(5, 600, 100)
        watch = watched(None, is_empty=False)
        cache = replay(requests[:300], 100)
        cache.published = watch.step
        completed = []
        for prompt, generated in requests[300:]:
            cache.run(prompt, generated)
            completed.append(watch.model.is_complete(0))
            if completed[-1]:
                assert watch.model.capacity == pytest.approx(100, rel=0.1)
        assert not completed[0]
        assert completed[-1]

    def test_a_cleared_cache_is_known(self) -> None:
        """It is empty, and so would a larger one be."""
        watch = watched(2, is_empty=False)
        watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
        watch.step([Removed((2,)), Cleared()])
        watch.step([Stored((1, 2), None, BLOCK_TOKENS)])
        assert watch.model.is_complete(3)
        assert watch.extra_hits == [0, 0, 0, 0]
        assert watch.stored["again"] == 0

    def test_a_new_engine_has_a_size_of_its_own(self) -> None:
        """It may have been started with other options."""
        watch = watched(None)
        watch.step([Stored((1, 2, 3), None, BLOCK_TOKENS)])
        assert watch.model.capacity == 3
        watch.model.reset(is_empty=True, is_new_engine=True)
        assert watch.model.capacity == 0


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.builds(
                    Stored,
                    st.lists(st.integers(0, 2**64), max_size=5).map(tuple),
                    st.none() | st.integers(0, 9),
                    st.integers(1, 64),
                ),
                st.builds(Removed, st.lists(st.integers(0, 9), max_size=5).map(tuple)),
                st.builds(Cleared),
            ),
            max_size=5,
        ),
        max_size=30,
    )
)
def test_memory_is_bounded_whatever_comes(steps: list[list[CacheEvent]]) -> None:
    """A publisher may name blocks that never were, twice, or evict what it did not store."""
    watch = watched(None, max_tracked=8)
    for events in steps:
        watch.step(events)
        assert watch.model.tracked <= 8
