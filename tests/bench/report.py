"""Figures of a benchmark: medians with their spread, as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity: the median of several runs, lowest and highest beside it.

    `ratio` compares with `peer`, measured in the same run; above 1 is in our favour.
    """

    name: str
    value: float
    unit: str
    lowest: float
    highest: float
    runs: int
    peer: str | None = None
    ratio: float | None = None


def figure(name: str, unit: str, values: Sequence[float]) -> Figure:
    """The figure of several runs."""
    return Figure(name, statistics.median(values), unit, min(values), max(values), len(values))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def write(path: Path, figures: Sequence[Figure], about: dict[str, object]) -> None:
    """Write all figures and the machine as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(each), "spread": [each.lowest, each.highest]} for each in figures]
    path.write_text(json.dumps({"machine": about, "figures": rows}, indent=2) + "\n")


def read(path: Path) -> tuple[dict[str, Figure], dict[str, Any]]:
    """What `write` wrote: figures by name, and the machine."""
    told = json.loads(path.read_text())
    names = [each.name for each in fields(Figure)]
    figures = [Figure(**{name: row[name] for name in names}) for row in told["figures"]]
    return {each.name: each for each in figures}, told["machine"]
