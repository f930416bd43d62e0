"""KV events in the whole collector: on its event loop, and with workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.collector import Collector, run_to_end, settings
from support.kv_publisher import KvPublisher, removed, stored
from support.ports import free_port
from support.waiting import eventually_async


@pytest.mark.parametrize("workers", [1, 2])
async def test_events_become_metrics(tmp_path: Path, workers: int) -> None:
    """Of one worker, whichever answers for /metrics."""
    port = free_port()
    source: dict[str, Any] = {"listen": f"tcp://127.0.0.1:{port}", "instance": "vllm:8000"}
    config = settings(tmp_path, workers=workers)
    config["receivers"]["kv_events"] = {"sources": [source | {"blocks": 2}]}
    with Collector(config, tmp_path) as collector:
        publisher = KvPublisher(source["listen"])
        await publisher.subscribed()
        await publisher.publish(stored(1, 2))
        await publisher.publish(removed(2), removed(1), stored(3, 4))
        await publisher.publish(stored(1, 2))
        await eventually_async(
            lambda: (
                collector.metric(
                    "sidelight_kv_cache_extra_hits_total", instance="vllm:8000", cache_size="2"
                )
                == 32
            ),
            "the extra hits",
        )
        assert collector.metric("sidelight_kv_events_messages_total", outcome="lost") == 0
        publisher.close()


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Ends the start with what to do."""
    taken = f"tcp://127.0.0.1:{free_port()}"
    publisher = KvPublisher(taken, bind=True)
    config = settings(tmp_path)
    config["receivers"]["kv_events"] = {"sources": [{"listen": taken}]}
    code, messages = run_to_end(config, tmp_path)
    publisher.close()
    assert code == 1
    assert "choose another one in receivers.kv_events.sources" in messages[-1]
