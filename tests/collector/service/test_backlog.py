"""A backlog that waited for its destinations is drained within a stated bound of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.collector.run import sink
from support.backlog import fill
from support.collector import Collector, settings
from support.span_load import SpanLoad
from support.waiting import eventually

pytestmark = pytest.mark.slow

_MIB = 1024 * 1024


@pytest.mark.timeout(3600)
def test_a_backlog_is_drained_within_150_mib(tmp_path: Path) -> None:
    """Two destinations, one with four batches on their way at once, while spans come in: all
    of the backlog is delivered to both, everything sent is acknowledged, memory has a bound.

    SIDELIGHT_SOAK_BACKLOG_MB says how much waits.
    """
    size = int(os.environ.get("SIDELIGHT_SOAK_BACKLOG_MB", "300")) * 1_000_000
    folder = tmp_path / "log"
    backlog = fill(folder, size)
    with sink() as (one, _), sink() as (two, _):
        config = settings(
            tmp_path,
            log={"directory": str(folder), "max_bytes": 8 * size},
            destinations=[
                {"type": "otlp_http", "name": "one", "url": f"http://127.0.0.1:{one}"},
                {
                    "type": "otlp_http",
                    "name": "two",
                    "url": f"http://127.0.0.1:{two}",
                    "concurrency": 4,
                },
            ],
        )
        with (
            Collector(config, tmp_path) as collector,
            SpanLoad(
                http_port=collector.http_port,
                grpc_port=collector.grpc_port,
                spans_per_request=100,
                text_bytes=1000,
            ) as load,
        ):
            for name in ("one", "two"):
                eventually(
                    lambda name=name: backlog.is_passed_by(folder, name),
                    seconds=600 + size / 5_000_000,
                )
            load.stop()
            assert load.failures == []
            assert load.acknowledged
            wanted = backlog.spans + len(load.acknowledged)
            for name in ("one", "two"):
                eventually(
                    lambda name=name: (
                        collector.metric("sidelight_collector_delivered_total", destination=name)
                        == wanted
                    )
                )
            assert collector.peak_rss_bytes() < 150 * _MIB
            assert collector.terminate() == 0
