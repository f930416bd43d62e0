"""`make bench-backlog`: receiving while a destination drains what has waited for it.

The collector has core 0, load generator and backend share core 1, as in `make bench`. First
the rate at which requests are acknowledged with a destination that keeps up; then the same
with a backlog in the log, from the start until the destination's cursor has passed it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.collector.payloads import PAYLOADS
from bench.collector.run import COLLECTOR_CORE, LOAD_CORE, ROOT, sink
from bench.report import Figure, figure, machine, write
from support.backlog import Backlog, fill
from support.collector import Collector, settings

OUTPUT = ROOT / "build" / "bench" / "backlog.json"
_REQUESTS = 200
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """Spans acknowledged a second, bytes of backlog drained a second, peak memory."""

    received_per_second: float
    drained_per_second: float
    seconds: float
    peak_mib: float


def _send(port: int, payload: Path) -> None:
    subprocess.run(
        [
            *("taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.collector.load"),
            *("http", str(port), str(payload), "--requests", str(_REQUESTS)),
        ],
        check=True,
        capture_output=True,
    )


def run(directory: Path, payload: Path, backlog: Backlog | None, least_seconds: float) -> Run:
    """Send without a pause until the backlog is drained, at least for so long."""
    folder = directory / "log"
    spans = PAYLOADS["llm"][1]
    with sink() as (port, _):
        config = settings(
            directory,
            log={"directory": str(folder), "max_bytes": 1 << 40},
            destinations=[{"name": "sink", "type": "otlp", "url": f"http://127.0.0.1:{port}"}],
        )
        started = time.perf_counter()
        with Collector(config, directory) as collector:
            for task in Path(f"/proc/{collector.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {COLLECTOR_CORE})
            sent, took, drained = 0, 0.0, None
            while took < least_seconds or (backlog is not None and drained is None):
                before = time.perf_counter()
                _send(collector.http_port, payload)
                took += time.perf_counter() - before
                sent += _REQUESTS * spans
                if backlog is not None and drained is None and backlog.is_passed_by(folder, "sink"):
                    drained = time.perf_counter() - started
            peak_bytes = collector.peak_rss_bytes()
    return Run(
        sent / took,
        backlog.size_bytes / drained if backlog is not None and drained else 0.0,
        took,
        peak_bytes / _MIB,
    )


def main() -> None:
    """Run, print, write the JSON; what was written is removed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=15.0, help="least length of each run")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    about = machine()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUTPUT.parent) as temporary:
        place = Path(temporary)
        build, spans = PAYLOADS["llm"]
        payload = place / "payload"
        payload.write_bytes(build(spans))
        alone = run(place / "alone", payload, None, options.seconds)
        backlog = fill(place / "drain" / "log", int(options.gigabytes * 1e9))
        beside = run(place / "drain", payload, backlog, options.seconds)
    name = f"backlog of {options.gigabytes:g} GB"
    figures: list[Figure] = [
        figure(f"{name}: received without", "spans/s", [alone.received_per_second]),
        figure(f"{name}: received while draining", "spans/s", [beside.received_per_second]),
        figure(
            f"{name}: rate while draining",
            "share",
            [beside.received_per_second / alone.received_per_second],
        ),
        figure(f"{name}: drained", "MB/s", [beside.drained_per_second / 1e6]),
        figure(f"{name}: peak memory without", "MiB", [alone.peak_mib]),
        figure(f"{name}: peak memory while draining", "MiB", [beside.peak_mib]),
    ]
    for each in figures:
        print(f"{each.name:50s} {each.value:12,.2f} {each.unit}")
    print(json.dumps({"seconds": [alone.seconds, beside.seconds]}))
    write(options.output, figures, about)


if __name__ == "__main__":
    main()
