"""Latency at a low rate: until the acknowledgement, and until the backend has the spans."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import urllib3

from bench.collector.payloads import llm
from bench.report import Figure, figure
from support.collector import Collector, settings

SPANS_PER_SECOND = 2_000
SPANS_PER_REQUEST = 10
SECONDS = 8.0


def measure(directory: Path, rounds: int) -> list[Figure]:
    """p50 and p99 in milliseconds at 2,000 spans a second, and the memory of an idle collector."""
    from bench.collector.run import sink

    samples: dict[str, list[float]] = {}
    for number in range(rounds):
        with sink("--timed") as (port, finish):
            place = directory / f"latency-{number}"
            config = settings(
                place,
                destinations=[{"name": "sink", "type": "otlp", "url": f"http://127.0.0.1:{port}"}],
            )
            with Collector(config, place) as collector:
                time.sleep(1)
                samples.setdefault("idle memory", []).append(collector.rss_bytes() / 2**20)
                acknowledged = _drive(collector.url)
                time.sleep(1)
            delays = finish()["delays"]
            assert isinstance(delays, list)
            for name, values in (("acknowledged", acknowledged), ("at the backend", delays)):
                cuts = statistics.quantiles(values, n=100)
                samples.setdefault(f"latency p50, {name}", []).append(cuts[49] * 1e3)
                samples.setdefault(f"latency p99, {name}", []).append(cuts[98] * 1e3)
    return [
        figure(name, "MiB" if "memory" in name else "ms", values)
        for name, values in samples.items()
    ]


def _drive(url: str) -> list[float]:
    """Send on schedule; returns seconds until each acknowledgement."""
    pool = urllib3.PoolManager()
    headers = {"Content-Type": "application/x-protobuf"}
    period = SPANS_PER_REQUEST / SPANS_PER_SECOND
    taken = []
    begin = time.perf_counter()
    for number in range(int(SECONDS / period)):
        time.sleep(max(0.0, begin + number * period - time.perf_counter()))
        body = llm(SPANS_PER_REQUEST)
        started = time.perf_counter()
        answer = pool.request("POST", f"{url}/v1/traces", body=body, headers=headers)
        taken.append(time.perf_counter() - started)
        if answer.status != 200:
            raise RuntimeError(f"answered {answer.status}")
    return taken
