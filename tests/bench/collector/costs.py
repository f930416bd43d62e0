"""What a span costs, by what comes in and goes out, beside rotel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.collector.framing import framed
from bench.collector.payloads import PAYLOADS, numbered
from bench.collector.peers import start_rotel
from bench.collector.run import COLLECTOR_CORE, Fed, Feeding, collector, destinations, feed, sink
from bench.collector.steps import Samples, Step
from bench.report import Figure
from support.collector import settings

PEER = "rotel, not durable"
# Of a run beside the load itself: two processes start, the collector warms up and settles.
_AROUND_SECONDS = 4.0
_SPANS_PER_SECOND = 90_000
# So that runs of large and of small spans take about as long as the others.
_SHARE_OF_SPANS = {
    "mix": 1 / 3,
    "secrets": 1 / 4,
    "demo": 1 / 2,
    "small": 1 / 4,
    "llm-small": 1 / 2,
    "rag": 1 / 8,
    "rpc": 2.0,
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of feeding and draining; `title` as a table shows it."""

    name: str
    title: str
    protocol: str = "http"
    payload: str = "llm"
    connections: int = 4
    gzip_in: bool = False
    gzip_out: bool = True
    processors: dict[str, object] | None = None
    rotel: bool = True


SCENARIOS = (
    Scenario("mix", "mix of instrumentations", payload="mix", gzip_out=False),
    Scenario("mix, gzip out", "mix, gzip out", payload="mix"),
    Scenario(
        "mix, redaction, gzip out",
        "mix with long texts, redaction, gzip out",
        payload="secrets",
        processors={"redact": {"enabled": True}},
    ),
    Scenario("demo", "canonical", payload="demo", gzip_out=False),
    Scenario("demo, small", "canonical, 10 spans a request", payload="small", gzip_out=False),
    Scenario("http", "plain", gzip_out=False),
    Scenario("http, gzip out", "plain, gzip out"),
    Scenario("grpc, gzip out", "plain, gRPC in, gzip out", protocol="grpc"),
    Scenario(
        "http, gzip out, many senders",
        "plain, gzip out, 10 spans a request from 16 senders",
        payload="llm-small",
        connections=16,
    ),
    Scenario("http, small spans", "plain, small spans", payload="rpc", gzip_out=False),
)


def steps(
    spans: int, payloads: Path, rotel: Path | None, scenarios: Sequence[Scenario] = SCENARIOS
) -> Iterator[Step]:
    """Each scenario with Sidelight and, where it can do it, with rotel.

    `spans` is of a run of the usual payload.
    """
    seconds = _AROUND_SECONDS + spans / _SPANS_PER_SECOND
    for scenario in scenarios:
        payload = payload_file(payloads, scenario.payload)
        yield Step(scenario.name, seconds, partial(_ours, scenario, payload, spans))
        if rotel is not None and scenario.rotel:
            yield Step(
                f"{scenario.name}, rotel",
                2 * seconds,
                partial(_rotels, scenario, payload, spans, rotel),
            )


def payload_file(directory: Path, name: str, spans: int | None = None) -> Path:
    """The requests of a payload, made once, as a file."""
    build, usual = PAYLOADS[name]
    path = directory / f"{name}-{spans or usual}"
    if not path.exists():
        path.write_bytes(framed(numbered(build(spans or usual))))
    return path


def compared(figures: Sequence[Figure]) -> list[Figure]:
    """The figures with the peer's ratio at each CPU figure; above 1 is in our favour."""
    known = {each.name: each for each in figures}
    return [
        replace(each, peer=PEER, ratio=known[f"{each.name} of rotel"].value / each.value)
        if f"{each.name} of rotel" in known
        else each
        for each in figures
    ]


def _feed(scenario: Scenario, pid: int, port: int, payload: Path, spans: int) -> tuple[Fed, float]:
    """What it cost, and µs of CPU for a span."""
    per_request = PAYLOADS[scenario.payload][1]
    wanted = int(spans * _SHARE_OF_SPANS.get(scenario.payload, 1.0))
    requests = max(8, wanted // per_request)
    feeding = Feeding(
        scenario.protocol, requests, connections=scenario.connections, gzipped=scenario.gzip_in
    )
    feed(pid, port, payload, replace(feeding, requests=max(8, requests // 10)))  # warm
    fed = feed(pid, port, payload, feeding)
    if fed.load.refused:
        raise RuntimeError(f"{scenario.name}: {fed.load.refused} requests were refused")
    return fed, fed.cpu_seconds / (fed.load.acknowledged * per_request) * 1e6


def _ours(scenario: Scenario, payload: Path, spans: int, directory: Path) -> Samples:
    with sink() as (sink_port, _):
        config = settings(directory, destinations=destinations(sink_port))
        config["log"]["compression"] = "gzip" if scenario.gzip_out else "none"
        if scenario.processors is not None:
            config["processors"] = scenario.processors
        with collector(config, directory) as running:
            port = running.http_port if scenario.protocol == "http" else running.grpc_port
            fed, cpu = _feed(scenario, running.pid, port, payload, spans)
    acknowledged = fed.load.acknowledged * PAYLOADS[scenario.payload][1] / fed.load.seconds
    return {
        (f"{scenario.name}: CPU", "us/span"): cpu,
        (f"{scenario.name}: rate of one core", "spans/s"): 1e6 / cpu,
        (f"{scenario.name}: acknowledged", "spans/s"): acknowledged,
        (f"{scenario.name}: peak memory", "MiB"): fed.peak_mib,
        (f"{scenario.name}: load generator's core", "share"): fed.load_share,
    }


def _rotels(
    scenario: Scenario, payload: Path, spans: int, binary: Path, directory: Path
) -> Samples:
    """Rotel keeps nothing on disk."""
    with sink() as (sink_port, _):
        process, http_port, grpc_port = start_rotel(
            binary,
            sink_port,
            COLLECTOR_CORE,
            compression="gzip" if scenario.gzip_out else "none",
        )
        try:
            port = http_port if scenario.protocol == "http" else grpc_port
            fed, cpu = _feed(scenario, process.pid, port, payload, spans)
        finally:
            process.kill()
            process.wait()
    return {
        (f"{scenario.name}: CPU of rotel", "us/span"): cpu,
        (f"{scenario.name}: peak memory of rotel", "MiB"): fed.peak_mib,
    }
