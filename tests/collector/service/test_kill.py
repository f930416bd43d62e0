"""kill -9 at random moments under load loses no acknowledged span, whatever destinations do."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.collector import Collector, settings
from support.failing_store import FailingGrpcStore, FailingStore, is_bad
from support.ports import free_port
from support.span_load import SpanLoad
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow

# A kill takes two seconds with one worker and ten with two on a busy machine with two cores, so
# 100 kills take 4 and 17 minutes. What the failing destinations have yet to get by then arrives
# within a minute; it fails after this.
_MAX_DRAIN_SECONDS = 900.0
# Destinations that fail: short times, so that each way of failing is gone through many times.
_HASTY = {"max_backoff_seconds": 0.3, "max_blocked_seconds": 0.5, "timeout_seconds": 1.0}


def _destinations(stores: dict[str, Any], workers: int) -> list[dict[str, object]]:
    routes = [{"name": "b", "match": {"service.namespace": "b"}, "url": stores["route"].url}]
    destinations = [
        stores["plain"].destination("plain"),
        stores["rest"].destination("routed", routes=routes),
        stores["failing"].destination("failing", concurrency=4, **_HASTY),
        {
            "type": "otlp_grpc",
            "name": "failing-grpc",
            "url": stores["grpc"].url,
            "signals": ["traces"],
            "concurrency": 4,
            **_HASTY,
        },
    ]
    if workers == 1:  # sampling needs all spans of a trace in one process
        sample = {"share": 1.0, "quiet_seconds": 0.3, "max_wait_seconds": 2}
        destinations.append(stores["sampled"].destination("sampled", sample=sample))
    return destinations


def _dead_letters(directory: Path, destination: str) -> set[bytes]:
    """The ids of the spans among a destination's dead letters, of all workers."""
    files = [
        *(directory / "log").rglob(f"dead-letters/{destination}.jsonl"),
        *(directory / "log").rglob(f"dead-letters/{destination}.old.jsonl"),
    ]
    return {
        span.span_id
        for file in files
        for line in file.read_text().splitlines()
        for resource in ExportTraceServiceRequest.FromString(
            gzip.decompress(base64.b64decode(json.loads(line)["request_gzip_base64"]))
        ).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def _arrived(acknowledged: Collection[bytes], ids: Callable[[], Collection[bytes]]) -> None:
    eventually(
        lambda: set(acknowledged) <= set(ids()),
        "everything that was acknowledged to arrive",
        seconds=_MAX_DRAIN_SECONDS,
        state=lambda: f"{len(set(acknowledged) - set(ids()))} spans are missing",
    )


def _kill_again_and_again(directory: Path, kills: int, workers: int) -> None:
    chance = random.Random()
    http_port, grpc_port = free_port(), free_port()
    with (
        SpanStore() as plain,
        SpanStore() as rest,
        SpanStore() as route,
        SpanStore() as sampled,
        FailingStore() as failing,
        FailingGrpcStore() as grpc,
    ):
        stores = {
            "plain": plain,
            "rest": rest,
            "route": route,
            "sampled": sampled,
            "failing": failing,
            "grpc": grpc,
        }
        config = settings(
            directory,
            receivers={"otlp_http": {"port": http_port}, "otlp_grpc": {"port": grpc_port}},
            log={"directory": str(directory / "log"), "segment_bytes": 256 * 1024},
            destinations=_destinations(stores, workers),
            workers=workers,
        )
        with SpanLoad(http_port=http_port, grpc_port=grpc_port, namespaces=("a", "b")) as load:
            for _ in range(kills):
                before = len(load.acknowledged)
                with Collector(config, directory):
                    # Some are killed before they took anything in, most in full flow.
                    if chance.random() < 0.8:
                        eventually(lambda before=before: len(load.acknowledged) > before)
                    time.sleep(chance.uniform(0, 0.8))
            load.stop()
        failing.moods.is_calm = grpc.moods.is_calm = True
        with Collector(config, directory) as last:
            assert load.acknowledged
            _arrived(load.acknowledged, lambda: plain.ids.keys())
            _arrived(load.acknowledged, lambda: rest.ids.keys() | route.ids.keys())
            assert not rest.ids.keys() & route.ids.keys()
            if workers == 1:
                _arrived(load.acknowledged, lambda: sampled.ids.keys())
            good = {span_id for span_id in load.acknowledged if not is_bad(span_id)}
            bad = load.acknowledged - good
            lag = "sidelight_collector_lag_seconds"
            for name, ids in (("failing", failing.ids), ("failing-grpc", grpc.ids)):
                _arrived(good, ids.keys)
                _arrived(bad, partial(_dead_letters, directory, name))
                # What alone fails is given up, and nothing else is.
                assert all(map(is_bad, _dead_letters(directory, name)))
                eventually(lambda name=name: last.metric(lag, destination=name) == 0)
            for name in ("plain", "routed", "routed.b", "sampled"):
                assert last.metric("sidelight_collector_dropped_total", destination=name) == 0
            assert last.terminate() == 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_under_load_loses_no_acknowledged_span(tmp_path: Path, workers: int) -> None:
    """Every span id that was acknowledged, over HTTP or gRPC, is at every destination.

    One has routes, one samples (with one worker), and two fail in every way that there is: only
    spans that they never accept are in their dead letters. Of several workers the supervisor is
    killed, and they with it. SIDELIGHT_SOAK_KILLS says over how many restarts: `make soak` tries
    100, so that a few are enough here.
    """
    kills = int(os.environ.get("SIDELIGHT_SOAK_KILLS", "4"))
    _kill_again_and_again(tmp_path, kills, workers)
