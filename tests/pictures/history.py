"""An hour of a simulated service in a real Prometheus, at once: blocks made from OpenMetrics.

vLLM's families and their values are a recording of a real vLLM 0.32 on CPU; load comes in waves.
"""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from sidelight import conventions as names
from sidelight.conventions import METRICS, Metric, prometheus_name
from sidelight.dashboards.catalog import milvus
from sidelight.dashboards.catalog.dcgm import DCGM_METRICS, GPU_MEMORY_FREE
from support import milvus_exposition, qdrant_exposition
from support.sidelight_exposition import LABELS
from support.vllm_exposition import Exposition, recording

SECONDS: Final = 3600
STEP: Final = 15
_WAVE_SECONDS: Final = 1500
# What the recording shows was done within a minute.
_RECORDED_SECONDS: Final = 60

# Gauges at full load, and how many times three a second counters grow.
_SCALES: Final = {
    names.COLLECTOR_LAG: 1.5,
    names.COLLECTOR_LOG_BYTES: 9e8,
    names.COLLECTOR_PENDING: 2e6,
    names.COLLECTOR_BUFFERED: 3e6,
    names.COLLECTOR_CONNECTIONS: 40.0,
    names.COLLECTOR_RECEIVED: 90.0,
    names.COLLECTOR_DELIVERED: 90.0,
    names.COLLECTOR_TROUBLE: 0.0,
    names.RETRIEVAL_DRIFT: 0.12,
    names.TOKENS: 150.0,
    names.COST: 0.001,
    names.KV_CAPACITY: 2048.0,
    names.KV_STORED: 500.0,
    names.KV_EXTRA_HITS: 500.0,
    names.ENGINE_DRAFT_TOKENS: 100.0,
    names.ENGINE_ACCEPTED_TOKENS: 62.0,
}
# Of the tokens that KV events tell of, by a label's value.
_OF_TOKENS: Final = {
    "new": 0.5, "again": 0.35, "copy": 0.02, "generated": 0.13,
    "1.25": 0.08, "1.5": 0.13, "2": 0.2, "4": 0.3,
}  # fmt: skip
# GPUs at full load, by the unit.
_OF_GPUS: Final = {"%": 100.0, "1": 0.6, "MiBy": 73_000.0, "W": 700.0}
# A certificate that is renewed in time: it expires in 200 days.
_EXPIRY: Final = time.time() + 200 * 86_400
_RARE: Final = (
    names.CLIENT_ABORTS,
    names.COLLECTOR_RETRIES,
    names.INSTRUMENTATION_DROPPED,
    names.INSTRUMENTATION_FAULTS,
    names.INJECTOR_ERRORS,
    names.INJECTOR_HANDSHAKES_FAILED,
    names.RETRIEVAL_POOR,
    names.VECTOR_EMPTY_SEARCHES,
)

Sample = tuple[str, dict[str, str], float]
"""A series name, its labels, its value."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a scenario's service exports: samples after `seconds` of it."""

    name: str
    samples: Callable[[float], Iterator[Sample]]


def _load(seconds: float, phase: float = 0.0) -> float:
    """Load at a moment, from 0 to 1."""
    return 0.5 + 0.4 * math.sin(2 * math.pi * seconds / _WAVE_SECONDS + phase)


def _work(seconds: float, phase: float) -> float:
    """Seconds of full load so far: what a counter has grown by."""
    turn = _WAVE_SECONDS / (2 * math.pi)
    return 0.5 * seconds - 0.4 * turn * (math.cos(seconds / turn + phase) - math.cos(phase))


def _vllm(exposition: Exposition, instance: str, phase: float, seconds: float) -> Iterator[Sample]:
    pod = {"namespace": "llm", "pod": instance.partition(":")[0]}
    scraped = {"job": "vllm", "instance": instance, **pod}
    yield "up", scraped, 1.0
    for metric in DCGM_METRICS:
        most = _OF_GPUS[metric.unit]
        # What vLLM takes of the memory does not follow the load.
        value = most if metric.unit == "MiBy" else most * _load(seconds, phase)
        if metric is GPU_MEMORY_FREE:
            value /= 9
        yield metric.shown_name, {"gpu": "0", "job": "dcgm", **pod}, value
    for family in exposition:
        for sample in family.samples:
            value = sample.value
            if sample.moves:
                value *= 1 + _work(seconds, phase) / _RECORDED_SECONDS
            elif sample.name == "vllm:kv_cache_usage_perc":
                value = _load(seconds, phase)
            elif sample.name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
                scale = 24 if sample.name.endswith("running") else 6
                value = round(scale * max(0.0, _load(seconds, phase) - 0.3))
            yield sample.name, dict(sample.labels) | scraped, value


def _milvus(seconds: float) -> Iterator[Sample]:
    scraped = {"job": "milvus", "instance": "milvus:9091"}
    for family in milvus_exposition.RECORDED:
        for sample in family.samples:
            value = sample.value
            if sample.moves:
                # The recording has a single search.
                value *= 5 * _work(seconds, 0.0)
            elif sample.name == milvus.TASKS_RUNNING.shown_name:
                value = round(4 * _load(seconds))
            yield sample.name, dict(sample.labels) | scraped, value


def _qdrant(seconds: float) -> Iterator[Sample]:
    scraped = {"job": "qdrant", "instance": "qdrant:6333"}
    for family in qdrant_exposition.FROM_SOURCE:
        for sample in family.samples:
            value = sample.value * _work(seconds, 0.4) / 10 if sample.moves else sample.value
            yield sample.name, dict(sample.labels) | scraped, value


def _sidelight(seconds: float, *, is_idle: bool) -> Iterator[Sample]:
    scraped = {"job": "sidelight", "instance": "sidelight:9464"}
    work = 1.0 if is_idle else 1.0 + _work(seconds, 0.0)
    load = 0.0 if is_idle else _load(seconds)
    for metric in METRICS.values():
        for labels in LABELS.get(metric.name, ({},)):
            share = _share(metric, labels)
            if is_idle and share < 1:
                continue
            scale = _SCALES.get(metric.name, 1.0) * share * _part(metric, labels)
            yield from _series(metric, labels | scraped, work * scale, load * scale)


def _share(metric: Metric, labels: dict[str, str]) -> float:
    """Events that went wrong are few."""
    is_bad = (
        metric.name in _RARE
        or labels.get("error_type")
        or labels.get("reason")
        or labels.get("outcome") in ("empty", "error", "lost")
    )
    return 0.004 if is_bad else 1.0


def _part(metric: Metric, labels: dict[str, str]) -> float:
    """The part of a metric's whole that has the labels."""
    if metric.name in (names.KV_STORED, names.KV_EXTRA_HITS):
        return _OF_TOKENS[labels.get("kind") or labels["cache_size"]]
    return 1.0


def _series(metric: Metric, labels: dict[str, str], work: float, load: float) -> Iterator[Sample]:
    name = prometheus_name(metric.name)
    match metric.instrument:
        case "gauge" if metric.name == names.INJECTOR_CERTIFICATE_EXPIRY:
            yield name, labels, _EXPIRY
        case "gauge":
            yield name, labels, load if metric.unit else 1.0
        case "counter":
            yield f"{name}_total", labels, 3 * work * float(labels.get("le", 1))
        case "histogram":
            bounds = [*map(float, metric.buckets), math.inf]
            counts = list(accumulate(4 * work * share for share in _bell(len(bounds))))
            for bound, count in zip(bounds, counts, strict=True):
                text = "+Inf" if math.isinf(bound) else repr(bound)
                yield f"{name}_bucket", labels | {"le": text}, count
            yield f"{name}_count", labels, counts[-1]
            yield f"{name}_sum", labels, counts[-1] * bounds[len(bounds) // 3]


def _bell(buckets: int) -> list[float]:
    """Shares of the observations by bucket: most lie around the third of the bounds."""
    weights = [math.exp(-(((at - buckets / 3) / (buckets / 9)) ** 2)) for at in range(buckets)]
    return [weight / sum(weights) for weight in weights]


def scenarios() -> tuple[Service, ...]:
    """A service under load, one that idles, and a Prometheus that scrapes neither."""
    loaded, calm = recording("metrics-0.32-load.txt"), recording("metrics-0.32-idle.txt")

    def busy(seconds: float) -> Iterator[Sample]:
        yield from _vllm(loaded, "vllm-0:8000", 0.0, seconds)
        yield from _vllm(loaded, "vllm-1:8000", 0.8, seconds)
        yield from _milvus(seconds)
        yield from _qdrant(seconds)
        yield from _sidelight(seconds, is_idle=False)

    def idle(_seconds: float) -> Iterator[Sample]:
        for family in calm:
            for sample in family.samples:
                labels = dict(sample.labels) | {"job": "vllm", "instance": "vllm-0:8000"}
                yield sample.name, labels, sample.value
        yield from _sidelight(0.0, is_idle=True)

    return (
        Service("busy", busy),
        Service("idle", idle),
        Service("empty", lambda _seconds: iter(())),
    )


def write_blocks(service: Service, directory: Path, end: float) -> None:
    """An hour of a service up to `end`, as blocks of Prometheus' database in `directory`.

    Raises `subprocess.CalledProcessError` if promtool refuses it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    series: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = {}
    for elapsed in range(0, SECONDS + 1, STEP):
        for name, labels, value in service.samples(elapsed):
            pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            line = f"{name}{{{pairs}}} {value} {end - SECONDS + elapsed}\n"
            series.setdefault((name, frozenset(labels.items())), []).append(line)
    text = directory.with_suffix(".txt")
    with text.open("w") as stream:
        for lines in series.values():
            stream.writelines(lines)
        stream.write("# EOF\n")
    if series:
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, directory],
            check=True,
            capture_output=True,
        )
    text.unlink()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
