"""kill -9 at random moments under load loses no acknowledged span."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from support.collector import Collector, settings
from support.ports import free_port
from support.span_load import SpanLoad
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow


def _kill_again_and_again(directory: Path, kills: int, workers: int) -> None:
    chance = random.Random()
    http_port, grpc_port = free_port(), free_port()
    with SpanStore() as store, SpanStore() as second:
        config = settings(
            directory,
            receivers={"otlp_http": {"port": http_port}, "otlp_grpc": {"port": grpc_port}},
            log={"directory": str(directory / "log"), "segment_bytes": 256 * 1024},
            destinations=[store.destination("one"), second.destination("two")],
            workers=workers,
        )
        with SpanLoad(http_port=http_port, grpc_port=grpc_port) as load:
            for _ in range(kills):
                before = len(load.acknowledged)
                with Collector(config, directory):
                    # Some are killed before they took anything in, most in full flow.
                    if chance.random() < 0.8:
                        eventually(lambda before=before: len(load.acknowledged) > before)
                    time.sleep(chance.uniform(0, 0.8))
            load.stop()
        with Collector(config, directory) as last:
            assert load.acknowledged
            for each in (store, second):
                eventually(lambda each=each: load.acknowledged <= each.ids.keys())
            assert last.metric("sidelight_collector_dropped_total") == 0
            assert last.terminate() == 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_under_load_loses_no_acknowledged_span(tmp_path: Path, workers: int) -> None:
    """Every span id that was acknowledged, over HTTP or gRPC, stands at both destinations.

    Of several workers the supervisor is killed, and they with it. SIDELIGHT_SOAK_KILLS says
    over how many restarts.
    """
    kills = int(os.environ.get("SIDELIGHT_SOAK_KILLS", "6"))
    _kill_again_and_again(tmp_path, kills, workers)
