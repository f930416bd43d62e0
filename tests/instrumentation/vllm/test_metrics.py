"""Engine metrics that are added up step by step."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.metrics import (
    MAX_ADAPTERS,
    OTHER,
    DataPoint,
    Distribution,
    EngineMetrics,
)
from sidelight.instrumentation.vllm.steps import EngineStep


def step(
    at: float, running: int | None, waiting: int = 0, kv: float = 0.0, finished: int = 0
) -> EngineStep:
    return EngineStep(at, running, waiting, kv, 10, 5, 1, 100, 60, finished)


def data_points(meters: EngineMetrics) -> dict[str, list[DataPoint]]:
    found: dict[str, list[DataPoint]] = {}
    for point in meters.data_points():
        found.setdefault(point.metric, []).append(point)
    return found


def value(found: dict[str, list[DataPoint]], metric: str) -> float | Distribution:
    (point,) = found[metric]
    return point.value


def test_sums() -> None:
    """Steps, preemptions and prefix-cache tokens are sums over all steps."""
    meters = EngineMetrics({"model": "tiny"})
    for at in (1.0, 1.5, 2.0):
        meters.add(step(at, running=2))
    found = data_points(meters)
    assert value(found, names.ENGINE_STEPS) == 3
    assert value(found, names.ENGINE_PREEMPTIONS) == 3
    assert value(found, names.ENGINE_PREFIX_QUERIES) == 300
    assert value(found, names.ENGINE_PREFIX_HITS) == 180
    assert all(point.attributes["model"] == "tiny" for each in found.values() for point in each)


def test_gauges_show_the_last_step() -> None:
    """Running, waiting and KV use are those after the last step that reported them."""
    meters = EngineMetrics({})
    assert names.ENGINE_KV_USAGE not in data_points(meters)
    meters.add(step(1.0, running=5, waiting=7, kv=0.5))
    meters.add(step(2.0, running=None))
    found = data_points(meters)
    assert value(found, names.ENGINE_RUNNING_NOW) == 5
    assert value(found, names.ENGINE_WAITING_NOW) == 7
    assert value(found, names.ENGINE_KV_USAGE) == 0.5


def test_time_at_kv_usage() -> None:
    """Seconds count for the use that the step before left; an idle engine counts for nothing."""
    meters = EngineMetrics({})
    for each in (
        step(10.0, running=3, kv=0.93),
        step(12.0, running=1, kv=0.35),
        step(13.0, running=0, kv=0.0),
        step(50.0, running=1, kv=0.1),
    ):
        meters.add(each)
    seconds = {
        point.attributes["le"]: point.value
        for point in data_points(meters)[names.ENGINE_KV_USAGE_TIME]
    }
    assert seconds["0.3"] == 0.0
    assert seconds["0.4"] == 1.0
    assert seconds["0.9"] == 1.0
    assert seconds["0.95"] == 3.0
    assert seconds["1"] == 3.0
    durations = value(data_points(meters), names.ENGINE_STEP_DURATION)
    assert isinstance(durations, Distribution)
    assert (sum(durations.counts), durations.total) == (2, 3.0)


def test_batch_holds_what_ended_in_it() -> None:
    """The batch of a step is what still runs and what ended with it."""
    meters = EngineMetrics({})
    meters.add(step(1.0, running=0, finished=3))
    batch = value(data_points(meters), names.ENGINE_BATCH_SIZE)
    assert isinstance(batch, Distribution)
    assert batch.total == 3


def test_bounds_are_inclusive() -> None:
    """A value on a bound belongs below it, as OpenTelemetry and Prometheus have it."""
    distribution = Distribution((1.0, 2.0))
    for each in (0.5, 1.0, 1.5, 2.0, 2.5):
        distribution.add(each)
    assert distribution.counts == [2, 2, 1]


def test_a_value_counts_last() -> None:
    """A value is in the sum, the minimum and the maximum before it is in the count."""

    class Watched(list[int]):
        def __setitem__(self, *at: Any) -> None:
            seen.append((made.total, made.minimum, made.maximum))
            super().__setitem__(*at)

    seen: list[tuple[float, float, float]] = []
    made = Distribution((1.0, 2.0))
    made.counts = Watched(made.counts)
    made.add(1.5)
    assert seen == [(1.5, 1.5, 1.5)]
    assert made.counts == [0, 1, 0]


@pytest.mark.parametrize("gap", [-5.0, 0.0, 3_600.0])
def test_clock_jumps(gap: float) -> None:
    """A clock that stands still, is set back, or leaps makes no step duration."""
    meters = EngineMetrics({})
    meters.add(step(10.0, running=1))
    meters.add(step(10.0 + gap, running=1))
    durations = value(data_points(meters), names.ENGINE_STEP_DURATION)
    assert isinstance(durations, Distribution)
    assert sum(durations.counts) == 0


def test_tiers_and_speculation() -> None:
    """Lookups elsewhere and proposed tokens are sums, apart from the engine's own cache."""
    meters = EngineMetrics({})
    for at in (1.0, 2.0):
        meters.add(
            step(at, running=1)._replace(
                external_queries=40, external_hits=30, draft_tokens=8, accepted_tokens=5
            )
        )
    found = data_points(meters)
    assert value(found, names.ENGINE_PREFIX_HITS) == 120
    assert value(found, names.ENGINE_EXTERNAL_QUERIES) == 80
    assert value(found, names.ENGINE_EXTERNAL_HITS) == 60
    assert value(found, names.ENGINE_DRAFT_TOKENS) == 16
    assert value(found, names.ENGINE_ACCEPTED_TOKENS) == 10


def test_limits_and_evictions() -> None:
    """What bounds a step is a gauge beside what it held; blocks have an age when they go."""
    meters = EngineMetrics({}, {names.ENGINE_BATCH_TOKENS_LIMIT: 2048})
    meters.add(step(1.0, running=1)._replace(evicted=(2.0, 400.0)))
    found = data_points(meters)
    assert value(found, names.ENGINE_BATCH_TOKENS_LIMIT) == 2048
    ages = value(found, names.ENGINE_EVICTION_AGE)
    assert isinstance(ages, Distribution)
    assert (sum(ages.counts), ages.total) == (2, 402.0)


def test_waiting_for_something_else() -> None:
    """Of those that wait, some wait for no capacity."""
    meters = EngineMetrics({})
    meters.add(step(1.0, running=1, waiting=5)._replace(deferred=2))
    found = data_points(meters)
    assert value(found, names.ENGINE_WAITING_NOW) == 5
    assert value(found, names.ENGINE_DEFERRED_NOW) == 2


def test_finished_by_reason() -> None:
    """Aborts count, and what a version to come names otherwise is not a label of its own."""
    meters = EngineMetrics({})
    for reason in ("stop", "abort", "abort", "novelty"):
        meters.finish(reason)
    counts = {
        point.attributes["reason"]: point.value
        for point in data_points(meters)[names.ENGINE_FINISHED]
    }
    assert counts == {"stop": 1, "abort": 2, OTHER: 1}


def test_adapters_are_bounded() -> None:
    """The first have their names; one without a request shows 0; the others count together."""
    meters = EngineMetrics({})
    for number in range(MAX_ADAPTERS + 2):
        meters.add(step(float(number), running=1)._replace(lora=((f"adapter-{number}", 1, 2),)))
    points = data_points(meters)[names.ENGINE_LORA_REQUESTS]
    counts = {
        (point.attributes[names.LORA_NAME], point.attributes["state"]): point.value
        for point in points
    }
    assert counts["adapter-0", "running"] == 0
    assert (counts[OTHER, "running"], counts[OTHER, "waiting"]) == (1, 2)
    assert len(counts) == 2 * (MAX_ADAPTERS + 1)


def test_heartbeat() -> None:
    """The age of the last step grows while it left work, and not while the engine is idle."""
    now = 100.0
    meters = EngineMetrics({}, clock=lambda: now)
    meters.add(step(90.0, running=2))
    assert value(data_points(meters), names.ENGINE_STEP_AGE) == 10.0
    meters.sleep(awake=False)
    found = data_points(meters)
    assert (value(found, names.ENGINE_STEP_AGE), value(found, names.ENGINE_AWAKE)) == (0.0, 0)
    meters.sleep(awake=True)
    meters.add(step(95.0, running=0, finished=2))
    found = data_points(meters)
    assert (value(found, names.ENGINE_STEP_AGE), value(found, names.ENGINE_AWAKE)) == (0.0, 1)
    meters.add(step(97.0, running=0, waiting=1))
    assert value(data_points(meters), names.ENGINE_STEP_AGE) == 3.0
