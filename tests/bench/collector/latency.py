"""Latency at a low rate: until the acknowledgement, and until the backend has the spans."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.collector.costs import payload_file
from bench.collector.load import percentiles
from bench.collector.run import Feeding, collector, destinations, feed, rss_mib, sink
from bench.collector.steps import Samples, Step
from support.collector import settings

SPANS_PER_SECOND = 2_000
SECONDS = 8.0
RUNS = (("http", 10), ("http", 256), ("grpc", 10))
"""Protocol, and spans of a request."""
PLACES = ("acknowledged", "at the backend")
PERCENTILES = ("p50", "p99")
IDLE_MEMORY = "idle memory"


def steps(payloads: Path) -> Iterator[Step]:
    """2,000 spans a second of the mix in each way; memory before the first of them."""
    for protocol, spans in RUNS:
        payload = payload_file(payloads, "mix", spans)
        title = f"latency, {protocol}, {spans} spans a request"
        yield Step(title, SECONDS + 5.0, partial(_run, protocol, spans, payload))


def name(protocol: str, spans: int, percentile: str, where: str) -> str:
    """A figure's name; `where` is one of `PLACES`."""
    return f"latency {percentile}, {protocol}, {spans} spans a request, {where}"


def _run(protocol: str, spans: int, payload: Path, directory: Path) -> Samples:
    rate = SPANS_PER_SECOND / spans
    with sink("--timed") as (sink_port, finish):
        config = settings(directory, destinations=destinations(sink_port))
        with collector(config, directory) as running:
            time.sleep(1)
            idle = rss_mib(running.pid, "VmRSS") * 2**20 / 1e6
            port = running.http_port if protocol == "http" else running.grpc_port
            load = feed(
                running.pid, port, payload, Feeding(protocol, seconds=SECONDS, rate=rate)
            ).load
        delays = [delay for _, delay in finish()]
    if load.refused:
        raise RuntimeError(f"{load.refused} requests were refused")
    p50, p99 = percentiles(delays)
    return {
        (name(protocol, spans, "p50", "acknowledged"), "ms"): load.p50_ms,
        (name(protocol, spans, "p99", "acknowledged"), "ms"): load.p99_ms,
        (name(protocol, spans, "p50", "at the backend"), "ms"): p50 * 1e3,
        (name(protocol, spans, "p99", "at the backend"), "ms"): p99 * 1e3,
        (IDLE_MEMORY, "MB"): idle,
    }
