"""CPU time of processes and of their threads, as the kernel's scheduler counts it."""

from __future__ import annotations

from pathlib import Path


def thread_seconds(pid: int) -> dict[str, float]:
    """Seconds on a CPU of each thread of a process, by its id and name."""
    seconds: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            # Nanoseconds on a CPU, nanoseconds waiting for one, time slices.
            spent = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
        seconds[f"{task.name} {name}"] = spent / 1e9
    return seconds


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
