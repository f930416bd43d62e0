"""Delay causes: they add up to the request's duration, and lead to its trace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.collector.metrics.delays import CAUSES, DelayMetrics, causes
from sidelight.collector.metrics.registry import Registry
from support import openmetrics
from support.measured_spans import span

DELAY = names.prometheus_name(names.REQUEST_DELAY)
PREEMPTIONS = f"{names.prometheus_name(names.REQUEST_PREEMPTIONS)}_total"


def served(**changes: Any) -> dict[str, Any]:
    """Attributes of a request as the plugin writes them; None takes one away."""
    return _attributes(
        {
            "REQUEST_MODEL": "tiny",
            "QUEUE_TIME": 0.25,
            "PREFILL_TIME": 0.5,
            "DECODE_TIME": 2.0,
            "PREEMPTIONS": 0,
            **changes,
        },
        {"frontend": 0.25, "queue": 0.25, "prefill": 0.5, "decode": 1.5, "interference": 0.5},
    )


def traced(**changes: Any) -> dict[str, Any]:
    """Attributes of a request as vLLM's own tracing writes them."""
    times = {"QUEUE_TIME": 0.25, "PREFILL_TIME": 0.5, "DECODE_TIME": 2.0}
    return _attributes(times | changes, {})


def _attributes(values: dict[str, Any], delays: dict[str, float]) -> dict[str, Any]:
    attributes = {getattr(names, name): value for name, value in values.items()}
    attributes |= {names.DELAY_SECONDS[cause]: seconds for cause, seconds in delays.items()}
    return {name: value for name, value in attributes.items() if value is not None}


def test_the_plugins_causes() -> None:
    """They are counted as its span tells them, to the last one."""
    told = dict.fromkeys(CAUSES, 0.0) | {
        "frontend": 0.25, "queue": 0.25, "prefill": 0.5, "decode": 1.5, "interference": 0.5,
    }  # fmt: skip
    assert causes(span(served(), seconds=3.0)) == told
    assert list(CAUSES) == list(names.DELAY_SECONDS)


def test_causes_of_vllms_own_span() -> None:
    """It has the engine's phases; what lies outside of them is the frontend's."""
    told = causes(span(traced(), seconds=3.0))
    assert {cause: seconds for cause, seconds in told.items() if seconds} == {
        "frontend": 0.25, "queue": 0.25, "prefill": 0.5, "decode": 2.0,
    }  # fmt: skip


times = st.floats(0, 1e6)


@given(times, times, times, times)
def test_causes_add_up_to_the_duration(
    queue: float, prefill: float, decode: float, duration: float
) -> None:
    """Whatever the engine told, none is negative and nothing is counted twice."""
    told = span(
        traced(QUEUE_TIME=queue, PREFILL_TIME=prefill, DECODE_TIME=decode), seconds=duration
    )
    found = causes(told)
    assert set(found) == set(CAUSES)
    assert min(found.values()) >= 0
    if told.seconds:
        assert sum(found.values()) == pytest.approx(told.seconds)


@pytest.mark.parametrize("missing", ["QUEUE_TIME", "PREFILL_TIME"])
@pytest.mark.parametrize("value", [None, "0.1", -1.0, float("nan"), True])
def test_without_the_engines_times_there_are_none(missing: str, value: object) -> None:
    """A request that the engine did not tell of says nothing rather than a guess."""
    assert causes(span(traced(**{missing: value}))) == {}


def test_they_are_histograms_that_lead_to_traces() -> None:
    """By service and model; a cause that took no time is not observed."""
    registry = Registry()
    seen = span(served(), seconds=3.0)
    DelayMetrics(registry).observe("api", seen)
    sums = {
        each.labels["cause"]: each.value for each in openmetrics.samples(f"{DELAY}_sum", registry)
    }
    assert sums["interference"] == 0.5
    counts = openmetrics.samples(f"{DELAY}_count", registry)
    met = {"frontend", "queue", "prefill", "decode", "interference"}
    assert {each.labels["cause"]: each.value for each in counts} == {
        cause: int(cause in met) for cause in CAUSES
    }
    assert {each.labels["gen_ai_request_model"] for each in counts} == {"tiny"}
    marks = [
        each.exemplar
        for each in openmetrics.samples(f"{DELAY}_bucket", registry)
        if each.exemplar is not None
    ]
    assert len(marks) == 5
    assert {mark.labels["trace_id"] for mark in marks} == {seen.trace_id.hex()}


def test_preemptions_are_counted() -> None:
    """With the trace of the request that met them last."""
    registry = Registry()
    delays = DelayMetrics(registry)
    for preemptions in (0, 2, 1):
        delays.observe("api", span(served(PREEMPTIONS=preemptions)))
    (sample,) = openmetrics.samples(PREEMPTIONS, registry)
    assert sample.value == 3
    assert sample.exemplar is not None


def test_labels_are_bounded() -> None:
    """However many models and services, the number of series stays bounded."""
    registry = Registry()
    delays = DelayMetrics(registry)
    for number in range(1000):
        delays.observe(f"s{number}", span(served(REQUEST_MODEL=f"m{number}"), seconds=3.0))
    found = openmetrics.samples(f"{DELAY}_count", registry)
    assert len(found) <= 65 * len(CAUSES)
    assert sum(each.value for each in found) == 5000
