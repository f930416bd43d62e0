"""`make bench-backlog`: receiving while a destination drains what has waited for it.

The collector has core 0, load generator and backend share core 1, as in `make bench`. First
the rate at which requests are acknowledged with a destination that keeps up; then the same
with a backlog in the log, from the start until the destination's cursor has passed it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.collector.framing import framed
from bench.collector.payloads import PAYLOADS, numbered
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


def run(
    directory: Path,
    payload: Path,
    backlog: Backlog | None,
    *,
    seconds: float,
    keys: dict[str, Any],
    count: int,
) -> Run:
    """Send without a pause until the backlog is drained or, without one, for so long.

    `keys` are those of each of so many destinations beside name and address.
    """
    names = [f"sink-{number}" for number in range(count)]
    folder = directory / "log"
    spans = PAYLOADS["llm"][1]
    with sink() as (port, _):
        config = settings(
            directory,
            log={"directory": str(folder), "max_bytes": 1 << 40},
            destinations=[
                {"name": name, "type": "otlp_http", "url": f"http://127.0.0.1:{port}", **keys}
                for name in names
            ],
        )
        started = time.perf_counter()
        with Collector(config, directory) as collector:
            for task in Path(f"/proc/{collector.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {COLLECTOR_CORE})
            sent, took, drained = 0, 0.0, None
            while (took < seconds) if backlog is None else (drained is None):
                before = time.perf_counter()
                _send(collector.http_port, payload)
                took += time.perf_counter() - before
                sent += _REQUESTS * spans
                if backlog is not None and all(
                    backlog.is_passed_by(folder, name) for name in names
                ):
                    drained = time.perf_counter() - started
            peak_bytes = collector.peak_rss_bytes()
    return Run(
        sent / took,
        count * backlog.size_bytes / drained if backlog is not None and drained else 0.0,
        peak_bytes / _MIB,
    )


def main() -> None:
    """Run, print, write the JSON; what was written is removed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the run without")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--destinations", type=int, default=1)
    parser.add_argument(
        "--keys", type=json.loads, default={}, help="other keys of each, as a JSON object"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    about = machine() | {"destinations": options.destinations, "keys": options.keys}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUTPUT.parent) as temporary:
        place = Path(temporary)
        build, spans = PAYLOADS["llm"]
        payload = place / "payload"
        payload.write_bytes(framed(numbered(build(spans))))
        measured = partial(
            run,
            payload=payload,
            seconds=options.seconds,
            keys=options.keys,
            count=options.destinations,
        )
        alone, beside = [], []
        for number in range(options.rounds):
            folder = place / f"drain-{number}"
            alone.append(measured(place / f"alone-{number}", backlog=None))
            backlog = fill(folder / "log", int(options.gigabytes * 1e9))
            beside.append(measured(folder, backlog=backlog))
            shutil.rmtree(folder)
    name = f"backlog of {options.gigabytes:g} GB"
    shares = [
        draining.received_per_second / usual.received_per_second
        for draining, usual in zip(beside, alone, strict=True)
    ]
    figures: list[Figure] = [
        figure(f"{name}: received without", "spans/s", [r.received_per_second for r in alone]),
        figure(
            f"{name}: received while draining", "spans/s", [r.received_per_second for r in beside]
        ),
        figure(f"{name}: rate while draining", "share", shares),
        figure(f"{name}: drained", "MB/s", [r.drained_per_second / 1e6 for r in beside]),
        figure(f"{name}: peak memory without", "MiB", [r.peak_mib for r in alone]),
        figure(f"{name}: peak memory while draining", "MiB", [r.peak_mib for r in beside]),
    ]
    for each in figures:
        spread = f"({each.lowest:,.2f} to {each.highest:,.2f})"
        print(f"{each.name:50s} {each.value:12,.2f} {each.unit:8s} {spread}")
    write(options.output, figures, about)


if __name__ == "__main__":
    main()
