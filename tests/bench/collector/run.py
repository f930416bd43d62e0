"""One run: a collector alone on one core, the load generator and a backend on another.

CPU is what the kernel charged the collector's process, so it holds receiving, checking,
compressing, fsyncs and sending. Everything that is started is ended with its `with` block.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.collector.load import Load
from support import paths
from support.collector import Collector

ROOT = paths.ROOT
COLLECTOR_CORE, LOAD_CORE = 0, 1
_TICKS = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Feeding:
    """How a load is sent; `rate` in requests a second, none: as fast as it is acknowledged."""

    protocol: str = "http"
    requests: int | None = None
    seconds: float | None = None
    rate: float | None = None
    connections: int = 4
    gzipped: bool = False

    def arguments(self) -> list[str]:
        """As the load generator's options."""
        given = {
            "--requests": self.requests,
            "--seconds": self.seconds,
            "--rate": self.rate,
            "--connections": self.connections,
        }
        options = [
            word
            for name, value in given.items()
            if value is not None
            for word in (name, str(value))
        ]
        return options + (["--gzipped"] if self.gzipped else [])


@dataclass(frozen=True, slots=True)
class Fed:
    """What a load cost a process: CPU seconds while it was sent, and until all was passed on.

    `load_core_share` is the part of the other core's time in which anything ran on it.
    """

    load: Load
    sending_cpu_seconds: float
    cpu_seconds: float
    load_core_share: float
    peak_mib: float

    @property
    def core_share(self) -> float:
        """Part of its core that the process had while the load was sent."""
        return self.sending_cpu_seconds / self.load.seconds

    @property
    def load_share(self) -> float:
        """Part of its core that the load generator had."""
        return self.load.cpu_seconds / self.load.seconds


def feed(pid: int, port: int, payload: Path, feeding: Feeding) -> Fed:
    """Load the process that listens on `port`, and wait until it has nothing left to do."""
    before, core_before = cpu_seconds(pid), _busy_ticks(LOAD_CORE)
    load = send(port, payload, feeding)
    sending, core_after = cpu_seconds(pid) - before, _busy_ticks(LOAD_CORE)
    settle(pid)
    return Fed(
        load=load,
        sending_cpu_seconds=sending,
        cpu_seconds=cpu_seconds(pid) - before,
        load_core_share=(core_after[0] - core_before[0]) / max(1, core_after[1] - core_before[1]),
        peak_mib=rss_mib(pid, "VmHWM"),
    )


def send(port: int, payload: Path, feeding: Feeding) -> Load:
    """Run the load generator to its end. Raises `RuntimeError` with its words if it fails."""
    command = [
        *("taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.collector.load"),
        *(feeding.protocol, str(port), str(payload), *feeding.arguments()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr.strip()[-2000:]}")
    return Load(**json.loads(done.stdout))


def settle(pid: int) -> None:
    """Wait until the process has nothing left to do."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_seconds(pid)
        if now - before < 0.02:
            return
        before = now


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mib(pid: int, key: str) -> float:
    """`VmRSS` or `VmHWM` of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise LookupError(key)


def _busy_ticks(core: int) -> tuple[int, int]:
    """Ticks of a core in which something ran, and all of them; what a host took counts as busy."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
            busy = user + nice + system + irq + softirq + steal
            return busy, busy + idle + iowait
    raise LookupError(f"cpu{core}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "tests")}


@contextmanager
def sink(
    *options: str, core: int = LOAD_CORE
) -> Iterator[tuple[int, Callable[[], list[tuple[float, float]]]]]:
    """A backend, on the load's core: its port, and a function that ends it.

    With the option --timed that tells when requests were due, as `time.time()` has it, and after
    how many seconds they came.
    """
    with _sink_process(options, core) as (process, port):
        assert process.stdout is not None
        output = process.stdout

        def finish() -> list[tuple[float, float]]:
            process.send_signal(signal.SIGTERM)
            return [(due, delay) for due, delay in json.loads(output.readline())["seen"]]

        yield port, finish


@contextmanager
def _sink_process(
    options: tuple[str, ...], core: int
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, "-m", "bench.collector.sink", *options],
        stdout=subprocess.PIPE,
        env=_environment(),
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextmanager
def idle_server(core: int) -> Iterator[tuple[int, int]]:
    """The backend as a server that does nothing with what it gets: its pid and port."""
    with _sink_process((), core) as (process, port):
        yield process.pid, port


@contextmanager
def collector(config: dict[str, Any], directory: Path) -> Iterator[Collector]:
    """Sidelight with its core for itself."""
    with Collector(config, directory) as running:
        for task in Path(f"/proc/{running.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {COLLECTOR_CORE})
        yield running


def destinations(*ports: int) -> list[dict[str, Any]]:
    """An OTLP/HTTP destination for each port."""
    return [
        {"name": f"sink-{number}", "type": "otlp_http", "url": f"http://127.0.0.1:{port}"}
        for number, port in enumerate(ports)
    ]
