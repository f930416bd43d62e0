"""`make bench`: CPU a span, spans a second and core, memory and latency, beside rotel.

The collector under test has core 0 for itself; load generator and backend share core 1.
CPU is what the kernel charged the collector's process until the backend had everything, so
it holds receiving, checking, compressing, fsyncs and sending. Scenarios of one round run one
after another and rounds repeat, so that a noisy minute touches all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.collector import latency
from bench.collector.payloads import PAYLOADS
from bench.collector.peers import ensure_rotel, start_rotel
from bench.report import Figure, figure, machine, write
from support.collector import Collector, settings

ROOT = Path(__file__).parents[3]
OUTPUT = ROOT / "build" / "bench" / "collector.json"
COLLECTOR_CORE, LOAD_CORE = 0, 1
_TICKS = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of feeding and draining."""

    name: str
    protocol: str = "http"
    payload: str = "llm"
    gzip_in: bool = False
    gzip_out: bool = True
    shape: dict[str, object] | None = None
    rotel: bool = True


SCENARIOS = (
    Scenario("http", gzip_out=False),
    Scenario("http, gzip out"),
    Scenario("http, gzip in and out", gzip_in=True),
    Scenario("grpc", protocol="grpc", gzip_out=False),
    Scenario("grpc, gzip out", protocol="grpc"),
    Scenario("http, small spans", payload="rpc", gzip_out=False),
    Scenario("http, large spans", payload="rag", gzip_out=False),
    Scenario("http, redaction, gzip out", shape={"redact": {"enabled": True}}, rotel=False),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a scenario cost."""

    cpu_us_per_span: float
    spans_per_second: float
    peak_rss_mib: float
    load_share: float


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_mib(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise LookupError(key)


@contextmanager
def sink(*options: str) -> Iterator[tuple[int, Callable[[], dict[str, object]]]]:
    """A backend on the load's core: its port, and a function that ends it and tells its count."""
    process = subprocess.Popen(
        ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.collector.sink", *options],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout

    def finish() -> dict[str, object]:
        process.send_signal(signal.SIGTERM)
        told: dict[str, object] = json.loads(output.readline())
        return told

    try:
        yield int(output.readline()), finish
    finally:
        process.kill()
        process.wait()


def _load(scenario: Scenario, port: int, payload: Path, requests: int) -> dict[str, float]:
    command = [
        *("taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.collector.load"),
        *(scenario.protocol, str(port), str(payload), "--requests", str(requests)),
        *(["--gzipped"] if scenario.gzip_in else []),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _settled(pid: int) -> None:
    """Wait until the process has nothing left to do."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_seconds(pid)
        if now - before < 0.02:
            return
        before = now


def _measure(scenario: Scenario, pid: int, port: int, payload: Path, spans: int) -> Result:
    per_request = PAYLOADS[scenario.payload][1]
    requests = max(8, spans // per_request)
    _load(scenario, port, payload, max(8, requests // 10))  # warm
    _settled(pid)
    before, started = cpu_seconds(pid), time.perf_counter()
    load = _load(scenario, port, payload, requests)
    acknowledged = time.perf_counter() - started
    _settled(pid)
    cpu = cpu_seconds(pid) - before
    return Result(
        cpu_us_per_span=cpu / (requests * per_request) * 1e6,
        spans_per_second=requests * per_request / acknowledged,
        peak_rss_mib=_rss_mib(pid, "VmHWM"),
        load_share=load["cpu_seconds"] / load["seconds"],
    )


def ours(scenario: Scenario, payload: Path, spans: int, directory: Path) -> Result:
    """One run of Sidelight."""
    with sink() as (sink_port, _):
        config = settings(
            directory,
            destinations=[{"name": "sink", "type": "otlp", "url": f"http://127.0.0.1:{sink_port}"}],
        )
        config["log"]["compression"] = "gzip" if scenario.gzip_out else "none"
        if scenario.shape is not None:
            config["shape"] = scenario.shape
        with Collector(config, directory) as collector:
            os.sched_setaffinity(collector.pid, {COLLECTOR_CORE})
            for task in Path(f"/proc/{collector.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {COLLECTOR_CORE})
            port = collector.http_port if scenario.protocol == "http" else collector.grpc_port
            return _measure(scenario, collector.pid, port, payload, spans)


def rotels(scenario: Scenario, payload: Path, spans: int, binary: Path) -> Result:
    """One run of rotel, which keeps nothing on disk."""
    with sink() as (sink_port, _):
        process, http_port, grpc_port = start_rotel(
            binary,
            sink_port,
            COLLECTOR_CORE,
            compression="gzip" if scenario.gzip_out else "none",
        )
        try:
            port = http_port if scenario.protocol == "http" else grpc_port
            return _measure(scenario, process.pid, port, payload, spans)
        finally:
            process.kill()
            process.wait()


def _payload_file(scenario: Scenario, directory: Path) -> Path:
    path = directory / scenario.payload
    if not path.exists():
        build, spans = PAYLOADS[scenario.payload]
        path.write_bytes(build(spans))
    return path


def _figures(scenario: Scenario, mine: list[Result], peers: list[Result]) -> list[Figure]:
    cpu = figure(f"{scenario.name}: CPU", "us/span", [r.cpu_us_per_span for r in mine])
    rate = figure(
        f"{scenario.name}: rate of one core", "spans/s", [1e6 / r.cpu_us_per_span for r in mine]
    )
    wall = figure(f"{scenario.name}: acknowledged", "spans/s", [r.spans_per_second for r in mine])
    memory = figure(f"{scenario.name}: peak memory", "MiB", [r.peak_rss_mib for r in mine])
    load = figure(f"{scenario.name}: load generator's core", "share", [r.load_share for r in mine])
    rows = [cpu, rate, wall, memory, load]
    if peers:
        theirs = figure(
            f"{scenario.name}: CPU of rotel {'' if scenario.gzip_out else 'without gzip'}".strip(),
            "us/span",
            [r.cpu_us_per_span for r in peers],
        )
        rows[0] = replace(cpu, peer="rotel, not durable", ratio=theirs.value / cpu.value)
        rows.append(theirs)
        rows.append(
            figure(f"{scenario.name}: peak memory of rotel", "MiB", [r.peak_rss_mib for r in peers])
        )
    return rows


def main() -> None:
    """Run all scenarios, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spans", type=int, default=300_000, help="spans of one run")
    parser.add_argument("--only", help="scenarios whose name contains this")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    about = machine()
    rotel = ensure_rotel(ROOT / "build" / "bench" / "rotel")
    scenarios = [s for s in SCENARIOS if not options.only or options.only in s.name]
    mine: dict[str, list[Result]] = defaultdict(list)
    peers: dict[str, list[Result]] = defaultdict(list)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=ROOT / "build" / "bench") as temporary:
        directory = Path(temporary)
        for number in range(options.rounds):
            for scenario in scenarios:
                payload = _payload_file(scenario, directory)
                place = directory / f"{number}-{scenario.name.replace(', ', '-')}"
                mine[scenario.name].append(ours(scenario, payload, options.spans, place))
                if rotel is not None and scenario.rotel:
                    peers[scenario.name].append(rotels(scenario, payload, options.spans, rotel))
                sys.stderr.write(f"round {number + 1}: {scenario.name}\n")
        for scenario in scenarios:
            figures += _figures(scenario, mine[scenario.name], peers[scenario.name])
        if not options.only:
            figures += latency.measure(directory, options.rounds)
    for each in figures:
        beside = f"  {each.ratio:.1f} x {each.peer}" if each.ratio else ""
        print(
            f"{each.name:55s} {each.value:12,.2f} {each.unit:8s}"
            f" ({each.lowest:,.2f} to {each.highest:,.2f}){beside}"
        )
    write(options.output, figures, about)


if __name__ == "__main__":
    main()
