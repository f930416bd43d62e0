"""Memory, CPU time, start and open files of this process, in the names Prometheus's clients use."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from sidelight.collector.metrics.family import Family, FamilyType, Series
from sidelight.otlp.prometheus.values import NumberValue

_SELF = Path("/proc/self")
# Fields of /proc/self/stat, counted from the one behind the name (proc(5)).
_USER_TICKS, _SYSTEM_TICKS, _START_TICKS, _VIRTUAL_BYTES, _RESIDENT_PAGES = 11, 12, 19, 20, 21


def families() -> Iterator[Family]:
    """The families as they stand now; none where there is no /proc."""
    try:
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        open_files = len(os.listdir(_SELF / "fd"))  # noqa: PTH208 (names alone are quicker)
    except OSError:
        return
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_seconds = (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / ticks
    started = time.time() - uptime + int(fields[_START_TICKS]) / ticks
    resident = int(fields[_RESIDENT_PAGES]) * resource.getpagesize()
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _family("virtual_memory_bytes", "Virtual memory.", int(fields[_VIRTUAL_BYTES]))
    yield _family("resident_memory_bytes", "Resident memory.", resident)
    yield _family("start_time_seconds", "Start of the process since the epoch.", started)
    yield _family("cpu_seconds", "User and system CPU time.", cpu_seconds, "counter")
    yield _family("open_fds", "Open files.", open_files)
    yield _family("max_fds", "Most files that may be open.", limit)


def _family(name: str, meaning: str, value: float, kind: FamilyType = "gauge") -> Family:
    return Family(f"process_{name}", kind, meaning, [Series("", NumberValue(value))])
