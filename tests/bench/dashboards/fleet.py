"""Eight hours of many vLLM replicas in Prometheus' own blocks.

Each replica is the recording of a real vLLM 0.32 under load, with waves of its own phase. Only
what the Overview reads is written: 200 replicas with every metric would be 70 million samples.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidelight.dashboards.boards.overview import OVERVIEW
from support.vllm_exposition import Sample, recording

HOURS: Final = 8
STEP: Final = 60
_WAVE_SECONDS: Final = 5400
_RECORDED_SECONDS: Final = 60
_GAUGES: Final = {
    "vllm:kv_cache_usage_perc": 1.0,
    "vllm:num_requests_running": 24.0,
    "vllm:num_requests_waiting": 6.0,
}


def write_fleet(directory: Path, replicas: int, end: int) -> int:
    """Write the blocks up to `end` (Unix seconds) into `directory`; returns how many samples.

    Raises `subprocess.CalledProcessError` if promtool refuses them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = directory.with_suffix(".txt")
    times = range(end - HOURS * 3600, end + 1, STEP)
    read = {series for _, series in OVERVIEW.metrics()}
    samples = [
        sample
        for family in recording("metrics-0.32-load.txt")
        for sample in family.samples
        if sample.name in read
    ]
    count = 0
    with text.open("w") as stream:
        for replica in range(replicas):
            for sample in samples:
                stream.writelines(_lines(sample, replica, times))
                count += len(times)
        stream.write("# EOF\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, directory],
        check=True,
        capture_output=True,
    )
    text.unlink()
    return count


def _lines(sample: Sample, replica: int, times: range) -> Iterator[str]:
    labels = dict(sample.labels) | {"job": "vllm", "instance": f"vllm-{replica}:8000"}
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    phase = 2 * math.pi * replica / 200
    turn = _WAVE_SECONDS / (2 * math.pi)
    scale = _GAUGES.get(sample.name, sample.value)
    for at in times:
        seconds = at - times.start
        if sample.moves:
            work = 0.5 * seconds - 0.4 * turn * (math.cos(seconds / turn + phase) - math.cos(phase))
            value = sample.value * (1 + work / _RECORDED_SECONDS)
        else:
            value = scale * (0.5 + 0.4 * math.sin(seconds / turn + phase))
        yield f"{sample.name}{{{pairs}}} {value:.6g} {at}\n"
