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
from bench.collector.traffic import DISTINCT_SPANS
from support.collector import settings

SPANS_PER_SECOND = 2_000
SECONDS = 20.0
"""At this rate 156 requests of 256 spans: of fewer than a hundred, p99 is nearly the slowest."""
RUNS = (("http", 10), ("http", 256), ("grpc", 10))
"""Protocol, and spans of a request."""
PLACES = ("acknowledged", "at the backend")
PERCENTILES = ("p50", "p99")
FIRST = "first"
"""In place of a percentile: the first request of all, for which plans are made."""
IDLE_MEMORY = "idle memory"


def steps(payloads: Path) -> Iterator[Step]:
    """2,000 spans a second of the mix in each way; memory before the first of them."""
    for protocol, spans in RUNS:
        payload = payload_file(payloads, "mix", spans)
        title = f"latency, {protocol}, {spans} spans a request"
        warming = DISTINCT_SPANS / SPANS_PER_SECOND
        yield Step(title, SECONDS + warming + 6.0, partial(_run, protocol, spans, payload))


def name(protocol: str, spans: int, percentile: str, where: str) -> str:
    """A figure's name; `percentile` may be `FIRST`, and `where` is one of `PLACES`."""
    return f"latency {percentile}, {protocol}, {spans} spans a request, {where}"


def _run(protocol: str, spans: int, payload: Path, directory: Path) -> Samples:
    rate = SPANS_PER_SECOND / spans
    with sink("--timed") as (sink_port, finish):
        config = settings(directory, destinations=destinations(sink_port))
        with collector(config, directory) as running:
            time.sleep(1)
            idle = rss_mib(running.pid, "VmRSS") * 2**20 / 1e6
            port = running.http_port if protocol == "http" else running.grpc_port
            # Each span of the payload once: what a new kind of span costs is told apart.
            warming = Feeding(protocol, requests=DISTINCT_SPANS // spans, rate=rate)
            warmed = feed(running.pid, port, payload, warming).load
            begun = time.time()
            steady = Feeding(protocol, seconds=SECONDS, rate=rate)
            load = feed(running.pid, port, payload, steady).load
        seen = finish()
    if refused := warmed.refused + load.refused:
        raise RuntimeError(f"{refused} requests were refused")
    delays = [delay for due, delay in seen if due >= begun]
    p50, p99 = percentiles(delays)
    return {
        (name(protocol, spans, "p50", "acknowledged"), "ms"): load.p50_ms,
        (name(protocol, spans, "p99", "acknowledged"), "ms"): load.p99_ms,
        (name(protocol, spans, "p50", "at the backend"), "ms"): p50 * 1e3,
        (name(protocol, spans, "p99", "at the backend"), "ms"): p99 * 1e3,
        (name(protocol, spans, FIRST, "at the backend"), "ms"): seen[0][1] * 1e3,
        (IDLE_MEMORY, "MB"): idle,
    }
