"""A real vLLM publishes its KV events; a second one with twice the blocks is the truth."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.kv_events.config import KvEvents
from sidelight.collector.receivers.kv_events.receiver import KvEventsReceiver
from support import openmetrics
from support.ports import free_port
from support.vllm_server import running_vllm
from support.waiting import eventually_async

pytestmark = [pytest.mark.real("vllm"), pytest.mark.slow, pytest.mark.timeout(1800)]

BLOCKS = 48
BLOCK_TOKENS = 128
VOCABULARY = 300
MISSED = 20


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


@asynccontextmanager
async def observed(
    directory: Path, blocks: int
) -> AsyncIterator[tuple[httpx.AsyncClient, KvEventsReceiver, Registry]]:
    """A vLLM server with so many blocks, and a receiver of its events that is not started."""
    registry = Registry()
    endpoint, replay = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    source = {"listen": endpoint, "replay": replay, "blocks": blocks}
    receiver = KvEventsReceiver(KvEvents.model_validate({"sources": [source]}), registry)
    events = {"enable_kv_cache_events": True, "endpoint": endpoint, "replay_endpoint": replay}
    arguments = ["--kv-events-config", json.dumps(events)]
    arguments += ["--num-gpu-blocks-override", str(blocks)]
    server = running_vllm(
        directory,
        instrumented=False,
        arguments=arguments,
        # For /reset_prefix_cache.
        environment={"VLLM_SERVER_DEV_MODE": "1"},
    )
    running = await asyncio.to_thread(server.__enter__)
    try:
        async with httpx.AsyncClient(base_url=running.url, timeout=120) as client:
            yield client, receiver, registry
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
        await receiver.stop(5.0)


async def counted(client: httpx.AsyncClient, name: str) -> float:
    """A counter of vLLM's /metrics."""
    text = (await client.get("/metrics")).text
    return sum(
        float(value) for value in re.findall(rf"^vllm:{name}_total{{.*}} (\S+)$", text, re.M)
    )


async def served(directory: Path, blocks: int) -> Run:
    """All prompts served, one after the other, and all events received.

    The receiver starts late: what it missed is replayed.
    """
    async with observed(directory, blocks) as (client, receiver, registry):

        async def ask(prompt: list[int]) -> None:
            body = {"model": "sidelight/tiny-qwen3", "prompt": prompt, "max_tokens": 2}
            (await client.post("/v1/completions", json=body)).raise_for_status()

        for number, prompt in enumerate(prompts()):
            if number == MISSED:
                await receiver.start()
            await ask(prompt)
        run = Run(
            await counted(client, "prefix_cache_queries"),
            await counted(client, "prefix_cache_hits"),
            registry,
        )
        # Events come in order: the last one is here when that of the emptied cache is.
        (await client.post("/reset_prefix_cache")).raise_for_status()
        await ask([1] * BLOCK_TOKENS)
        await eventually_async(
            lambda: run.total("sidelight_kv_events_resets_total", reason="cleared") == 1,
            "the event of the emptied cache",
        )
        return run


async def test_twice_the_blocks_give_the_hits_that_were_foretold(tmp_path: Path) -> None:
    """Within two points of the hit ratio."""
    small, large = [await served(tmp_path / str(blocks), blocks) for blocks in (BLOCKS, 2 * BLOCKS)]
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
