"""What the doctor says of KV events."""

from __future__ import annotations

import pytest

from sidelight import conventions
from sidelight.base.check import Check
from sidelight.base.http_client.client import Answer
from sidelight.collector.metrics.kv_cache.cache_model import CacheModel
from sidelight.collector.metrics.kv_cache.metrics import EngineCacheMetrics, KvCacheMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.type import CheckContext
from sidelight.collector.receivers.kv_events import check
from sidelight.collector.receivers.kv_events.config import KvEvents
from support import openmetrics
from support.ports import free_port


def exposition(connections: int) -> Answer:
    """The page of a Sidelight that reads the events of vllm:8000."""
    registry = Registry()
    model = CacheModel(None, 1000)
    metrics = EngineCacheMetrics(KvCacheMetrics(registry), model, "vllm", "vllm:8000", "0")
    metrics.connected(connections)
    _, body = openmetrics.exposition(registry).render("")
    assert conventions.prometheus_name(conventions.KV_CONNECTIONS).encode() in body
    return Answer(200, {}, body)


async def looked(
    key: str = "listen", *, running: bool = False, page: Answer | None = None, instance: str = ""
) -> Check:
    """The one check of a source."""
    source = {key: f"tcp://127.0.0.1:{free_port()}", "instance": instance or "vllm:8000"}
    config = KvEvents.model_validate({"sources": [source]})
    ((_, look),) = check.looks(config, CheckContext(1.0, running, page))
    return await look()


async def test_before_sidelight_runs() -> None:
    """The port is free; or nobody publishes yet."""
    assert (await looked()).status == "ok"
    found = await looked("connect")
    assert found.status == "warn"
    assert '"endpoint": "tcp://*:' in found.advice


async def test_who_is_connected() -> None:
    """As the running Sidelight knows it."""
    assert (await looked(running=True, page=exposition(1))).status == "ok"
    found = await looked(running=True, page=exposition(0))
    assert (found.status, found.found) == ("warn", "no publisher is connected")
    assert '--kv-events-config \'{"enable_kv_cache_events": true' in found.advice
    assert (await looked(running=True)).status == "ok"


async def test_a_source_that_is_not_read() -> None:
    """Added to the file after the start."""
    found = await looked(running=True, page=exposition(1), instance="other")
    assert found.status == "warn"
    assert "Restart Sidelight" in found.advice


async def test_without_pyzmq(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to install it."""
    monkeypatch.setattr(check, "find_spec", lambda _: None)
    found = await looked()
    assert found.status == "fail"
    assert "sidelight[kv-events]" in found.advice
