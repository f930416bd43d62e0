"""How costs of the mix grow: with the rate offered, destinations, connections, request size.

Every run has a fresh collector with its default configuration (what is stored and sent is
compressed) and takes a given time, whatever the collector manages in it. The rate is offered
in an open loop; along the other axes requests are sent as fast as they are acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.collector.costs import payload_file
from bench.collector.load import percentiles
from bench.collector.run import (
    COLLECTOR_CORE,
    Fed,
    Feeding,
    collector,
    destinations,
    feed,
    idle_server,
    sink,
)
from bench.collector.steps import Samples, Step
from support.collector import settings
from support.waiting import eventually

# Two processes start, the collector warms up and settles.
_AROUND_SECONDS = 3.5
_WARM_SECONDS = 0.5
_SPANS_PER_REQUEST = 256
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Axis:
    """What grows, in which unit, and its points."""

    name: str
    unit: str
    points: tuple[int, ...]

    def figure(self, point: int, quantity: str) -> str:
        """The name of a figure."""
        return f"growth with {self.name}, {point}: {quantity}"


LOAD = Axis(
    "load",
    "spans/s offered",
    (1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000),
)
DESTINATIONS = Axis("destinations", "destinations", (1, 2, 4, 8))
CONNECTIONS = Axis("connections", "connections", (1, 4, 16, 64))
REQUEST_SIZE = Axis("request size", "spans a request", (10, 64, 256, 1024))
SEQUENCES = Axis("sequences of names", "sequences of names", (1, 100, 10_000, 100_000))
AXES = (LOAD, DESTINATIONS, CONNECTIONS, REQUEST_SIZE, SEQUENCES)
CEILING = "load generator alone"


def steps(axes: Sequence[Axis], payloads: Path, seconds: float) -> Iterator[Step]:
    """A run for each point of the axes."""
    for axis in axes:
        for point in axis.points:
            yield Step(
                f"{axis.name}, {point:,}",
                seconds + _AROUND_SECONDS,
                partial(_run, axis, point, payloads, seconds),
            )


def ceiling_steps(payloads: Path, seconds: float) -> Iterator[Step]:
    """The load generator against a server on the collector's core that does nothing."""
    for spans in REQUEST_SIZE.points:
        payload = payload_file(payloads, "mix", spans)
        yield Step(
            f"{CEILING}, {spans:,} spans a request",
            seconds + 2.0,
            partial(_ceiling, payload, spans, seconds),
        )


def _run(axis: Axis, point: int, payloads: Path, seconds: float, directory: Path) -> Samples:
    spans = point if axis is REQUEST_SIZE else _SPANS_PER_REQUEST
    feeding = Feeding(
        seconds=seconds,
        rate=point / spans if axis is LOAD else None,
        connections=point if axis is CONNECTIONS else _CONNECTIONS,
    )
    name = f"sequences-{point}" if axis is SEQUENCES else "mix"
    payload = payload_file(payloads, name, spans)
    targets = point if axis is DESTINATIONS else 1
    with sink("--timed") as (sink_port, finish):
        config = settings(directory, destinations=destinations(*[sink_port] * targets))
        with collector(config, directory) as running:
            warm = feed(running.pid, running.http_port, payload, Feeding(seconds=_WARM_SECONDS))
            warm_until = time.time()
            fed = feed(running.pid, running.http_port, payload, feeding)
            sent = (warm.load.acknowledged + fed.load.acknowledged) * spans * targets
            eventually(lambda: running.metric("sidelight_collector_delivered_total") >= sent)
        delays = [delay for due, delay in finish() if due >= warm_until]
    quantities = _quantities(fed, spans, seconds) | _lags(delays)
    return {(axis.figure(point, name), unit): v for (name, unit), v in quantities.items()}


def _quantities(fed: Fed, spans: int, seconds: float) -> dict[tuple[str, str], float]:
    acknowledged = fed.load.acknowledged * spans
    # With few requests the last is due, and answered, well before the end.
    took = max(seconds, fed.load.seconds)
    return {
        ("CPU", "us/span"): fed.cpu_seconds / acknowledged * 1e6,
        ("core", "share"): fed.core_share,
        ("acknowledged", "spans/s"): acknowledged / took,
        ("p50 until acknowledged", "ms"): fed.load.p50_ms,
        ("p99 until acknowledged", "ms"): fed.load.p99_ms,
        ("peak memory", "MiB"): fed.peak_mib,
        ("refused", "requests"): fed.load.refused,
        ("load generator's core", "share"): fed.load_share,
        ("load core in use", "share"): fed.load_core_share,
        ("load generator late, p99", "ms"): fed.load.late_p99_ms,
    }


def _lags(delays: list[float]) -> dict[tuple[str, str], float]:
    p50, p99 = percentiles(delays)
    return {
        ("p50 until at the destination", "ms"): p50 * 1e3,
        ("p99 until at the destination", "ms"): p99 * 1e3,
    }


def _ceiling(payload: Path, spans: int, seconds: float, _directory: Path) -> Samples:
    with idle_server(COLLECTOR_CORE) as (pid, port):
        fed = feed(pid, port, payload, Feeding(seconds=seconds, connections=_CONNECTIONS))
    name = f"{CEILING}, {spans}"
    return {
        (f"{name}: acknowledged", "spans/s"): fed.load.acknowledged * spans / fed.load.seconds,
        (f"{name}: load generator's core", "share"): fed.load_share,
    }
