"""Whole services that are well: no alert may fire on any of them.

A replica exports every metric that an alert reads, moving together as they do in vLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from support.alerting.case import selector
from support.alerting.values import Segment, counter, gauge

MINUTES = 120
Series = dict[str, str]
_STEPS_A_MINUTE = 600
_TOKENS_A_REQUEST = 200


@dataclass(frozen=True, slots=True)
class Phase:
    """Some minutes in the life of a replica; `there` is False before it starts and after its end.

    `requests` finish in each minute, `running` and `waiting` are what a scrape sees, `deferred`
    of the waiting ones wait for their KV cache. `stepping` False: an engine without work.
    """

    minutes: int
    requests: float = 0
    running: float = 0
    waiting: float = 0
    deferred: float = 0
    kv_cache: float = 0
    awake: float = 1
    stepping: bool | None = None
    there: bool = True


BUSY = Phase(MINUTES, requests=120, running=16, kv_cache=0.95)
IDLE = Phase(MINUTES)
GONE = Phase(MINUTES, there=False)


def lasting(phase: Phase, minutes: int) -> Phase:
    """The same for another time."""
    fields = {name: getattr(phase, name) for name in Phase.__slots__}
    return Phase(**(fields | {"minutes": minutes}))


def replica(instance: str, *phases: Phase) -> Series:
    """All series of one replica."""
    labels = {"job": "vllm", "instance": instance}
    engine = {**labels, "model_name": "llama", "engine": "0"}

    def level(value: Callable[[Phase], float]) -> str:
        return gauge(*_segments(phases, value))

    def flow(increase: Callable[[Phase], float]) -> str:
        return counter(*_segments(phases, increase))

    series = {
        selector("up", labels): level(lambda phase: 1),
        selector("process_start_time_seconds", labels): level(lambda phase: 1000),
    }
    for name, more, value in _GAUGES:
        series[selector(f"vllm:{name}", engine | more)] = level(value)
    for name, more, increase in _COUNTERS:
        series[selector(f"vllm:{name}", engine | more)] = flow(increase)
    return series


def service(**replicas: tuple[Phase, ...]) -> Series:
    """Several replicas, by instance."""
    return {
        name: values
        for instance, phases in replicas.items()
        for name, values in replica(instance, *phases).items()
    }


def _segments(phases: tuple[Phase, ...], value: Callable[[Phase], float]) -> Iterator[Segment]:
    for phase in phases:
        yield (value(phase) if phase.there else None), phase.minutes


def _steps(phase: Phase) -> float:
    stepping = phase.running > 0 if phase.stepping is None else phase.stepping
    return _STEPS_A_MINUTE if stepping else 0


_Value = Callable[[Phase], float]
_GAUGES: tuple[tuple[str, dict[str, str], _Value], ...] = (
    ("num_requests_running", {}, lambda phase: phase.running),
    ("num_requests_waiting", {}, lambda phase: phase.waiting),
    (
        "num_requests_waiting_by_reason",
        {"reason": "capacity"},
        lambda phase: phase.waiting - phase.deferred,
    ),
    ("num_requests_waiting_by_reason", {"reason": "deferred"}, lambda phase: phase.deferred),
    ("engine_sleep_state", {"sleep_state": "awake"}, lambda phase: phase.awake),
    ("kv_cache_usage_perc", {}, lambda phase: phase.kv_cache),
)
_COUNTERS: tuple[tuple[str, dict[str, str], _Value], ...] = (
    # Steps of up to 64 tokens decode; one in a hundred also prefills.
    ("iteration_tokens_total_bucket", {"le": "64.0"}, lambda phase: 0.99 * _steps(phase)),
    ("iteration_tokens_total_bucket", {"le": "2048.0"}, _steps),
    ("iteration_tokens_total_bucket", {"le": "+Inf"}, _steps),
    ("iteration_tokens_total_count", {}, _steps),
    ("generation_tokens_total", {}, lambda phase: _TOKENS_A_REQUEST * phase.requests),
    ("prefix_cache_queries_total", {}, lambda phase: _TOKENS_A_REQUEST * phase.requests),
    ("prefix_cache_hits_total", {}, lambda phase: 0.5 * _TOKENS_A_REQUEST * phase.requests),
    ("num_preemptions_total", {}, lambda phase: 0),
    ("request_success_total", {"finished_reason": "stop"}, lambda phase: phase.requests),
    ("request_success_total", {"finished_reason": "error"}, lambda phase: 0),
    ("request_queue_time_seconds_bucket", {"le": "0.3"}, lambda phase: phase.requests),
    ("request_queue_time_seconds_bucket", {"le": "+Inf"}, lambda phase: phase.requests),
    ("request_queue_time_seconds_count", {}, lambda phase: phase.requests),
    ("time_to_first_token_seconds_bucket", {"le": "1.0"}, lambda phase: phase.requests),
    ("time_to_first_token_seconds_bucket", {"le": "+Inf"}, lambda phase: phase.requests),
    ("time_to_first_token_seconds_count", {}, lambda phase: phase.requests),
    ("inter_token_latency_seconds_bucket", {"le": "0.1"}, lambda phase: 50 * phase.requests),
    ("inter_token_latency_seconds_bucket", {"le": "+Inf"}, lambda phase: 50 * phase.requests),
    ("inter_token_latency_seconds_count", {}, lambda phase: 50 * phase.requests),
)
