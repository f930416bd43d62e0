"""A real vLLM publishes its KV events; a second one with twice the blocks is the truth."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.kv_events.config import KvEvents
from sidelight.collector.receivers.kv_events.receiver import KvEventsReceiver
from sidelight.demo import model
from sidelight.demo.processes import Processes
from support import openmetrics
from support.environments import python_of
from support.lifetime import bound
from support.paths import TESTS
from support.ports import free_port
from support.vllm_server import NOTHING_COMPILED, QUICK_START
from support.waiting import eventually_async

pytestmark = [pytest.mark.real("vllm"), pytest.mark.slow, pytest.mark.timeout(1800)]

BLOCKS = 48
BLOCK_TOKENS = 128
VOCABULARY = 300
MISSED = 20
# One process with one thread is enough for so small a model.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(QUICK_START),
    **NOTHING_COMPILED,
}


@dataclass(frozen=True)
class Run:
    """What vLLM counted of prompts and hits in tokens, and what the receiver says."""

    queries: float
    hits: float
    registry: Registry

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series with the labels."""
        return sum(
            sample.value
            for sample in openmetrics.samples(name, self.registry)
            if labels.items() <= sample.labels.items()
        )


def prompts() -> list[list[int]]:
    """Questions about sixteen documents, some asked more often, with a system prompt before."""
    chance = random.Random(12)

    def words(tokens: int) -> list[int]:
        return [chance.randrange(3, VOCABULARY) for _ in range(tokens)]

    system = words(BLOCK_TOKENS)
    documents = [words(BLOCK_TOKENS * chance.randint(3, 9)) for _ in range(16)]
    asked = []
    for _ in range(150):
        document = documents[min(int(chance.paretovariate(0.6)), len(documents)) - 1]
        length = chance.randint(BLOCK_TOKENS * 2, len(document))
        asked.append(system + document[:length] + words(chance.randint(5, 150)))
    return asked


class Engines:
    """vLLM's engine in a process of its own, without the server around it."""

    def __init__(self, directory: Path) -> None:
        with Processes(directory) as processes:
            self._model = str(model.ensure(python_of("vllm"), processes))
        self._log = (directory / "vllm.log").open("wb")
        self._process = subprocess.Popen(
            bound([python_of("vllm"), TESTS / "support" / "vllm_kv_engine.py"]),
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def start(self, blocks: int, endpoint: str, replay: str) -> None:
        """An engine with so many blocks, instead of the one before."""
        addresses = {"endpoint": endpoint, "replay": replay}
        self._do("start", {"model": self._model, "blocks": blocks, **addresses})

    def ask(self, prompt: list[int]) -> None:
        """Let it answer the token ids of a prompt."""
        self._do("ask", prompt)

    def empty_cache(self) -> None:
        """Let it forget all blocks."""
        self._do("reset", None)

    def counted(self) -> dict[str, float]:
        """Its counters of prompts and hits, in tokens."""
        counters: dict[str, float] = self._do("count", None)
        return counters

    def _do(self, command: str, given: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({command: given}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, Path(self._log.name).read_text(errors="replace")[-4_000:]
        return json.loads(answer)


async def served(engines: Engines, blocks: int) -> Run:
    """All prompts answered with so many blocks, one after the other, and all events received.

    The receiver starts late: what it missed is replayed.
    """
    registry = Registry()
    endpoint, replay = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    source = {"listen": endpoint, "replay": replay, "blocks": blocks}
    config = KvEvents.model_validate({"sources": [source], "replay_timeout_seconds": 60.0})
    receiver = KvEventsReceiver(config, registry)
    await asyncio.to_thread(engines.start, blocks, endpoint, replay)
    try:
        for number, prompt in enumerate(prompts()):
            if number == MISSED:
                await receiver.start()
            await asyncio.to_thread(engines.ask, prompt)
        counted = await asyncio.to_thread(engines.counted)
        run = Run(counted["vllm:prefix_cache_queries"], counted["vllm:prefix_cache_hits"], registry)
        # Events come in order: the last one is here when that of the emptied cache is.
        await asyncio.to_thread(engines.empty_cache)
        await asyncio.to_thread(engines.ask, [1] * BLOCK_TOKENS)
        await eventually_async(
            lambda: run.total("sidelight_kv_events_resets_total", reason="cleared") == 1,
            "the event of the emptied cache",
        )
        return run
    finally:
        await receiver.stop(5.0)


async def test_twice_the_blocks_give_the_hits_that_were_foretold(tmp_path: Path) -> None:
    """Within two points of the hit ratio."""
    with Engines(tmp_path) as engines:
        small, large = [await served(engines, blocks) for blocks in (BLOCKS, 2 * BLOCKS)]
    assert small.queries == large.queries
    assert small.total("sidelight_kv_events_messages_total", outcome="replayed") >= MISSED / 2
    for nothing in ("lost", "malformed"):
        assert small.total("sidelight_kv_events_messages_total", outcome=nothing) == 0
    assert small.total("sidelight_kv_cache_extra_hits_complete", cache_size="4") == 1
    assert small.total("sidelight_kv_cache_evicted_total") > BLOCKS
    gained = 100 * (large.hits - small.hits) / small.queries
    foretold = 100 * small.total("sidelight_kv_cache_extra_hits_total", cache_size="2")
    assert gained > 3
    assert foretold / small.queries == pytest.approx(gained, abs=2)
