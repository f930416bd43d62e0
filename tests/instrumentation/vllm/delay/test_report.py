"""The delay as attributes: the main cause, what to change, and the figures behind it."""

from __future__ import annotations

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.delay.causes import CAUSES, Delay
from sidelight.instrumentation.vllm.delay.report import OPTIONS, RequestDelay, delay_attributes
from sidelight.instrumentation.vllm.delay.timeline import Timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.steps import EngineConditions

EDGES = Timeline(0.0, 0.5, 1.0, 1.5, 9.5, 10.0)
SEQUENCE = FinishedSequence(
    request_id="a", engine=0, finish_reason="stop", finished=9.5, arrival=0.0, prompt_tokens=1200,
    cached_tokens=200, generated_tokens=64, preemptions=1,
)  # fmt: skip
MET = EngineConditions(
    steps=80, steps_with_prefill=12, batch_mean=7.25, batch_max=9, waiting_at_arrival=14,
    kv_usage_at_admission=0.34, kv_usage_peak=0.99,
)  # fmt: skip


def report(cause: str, seconds: float, met: EngineConditions = MET) -> dict[str, object]:
    delay = Delay()
    delay.seconds[cause] = delay.avoidable[cause] = seconds
    return delay_attributes(RequestDelay(EDGES, SEQUENCE, met, delay))


def test_phases_and_causes() -> None:
    """Phases are told always, causes that took no time never."""
    attributes = report("queue", 4.0)
    assert [attributes[name] for name in (names.FRONTEND_TIME, names.DECODE_TIME)] == [0.5, 8.0]
    assert attributes[names.DELAY_SECONDS["queue"]] == 4.0
    assert names.DELAY_SECONDS["preemption"] not in attributes


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("frontend", "2.0 s before the engine queued the request"),
        ("queue", "waited 2.0 s, 14 requests ahead, KV cache 34% full"),
        ("kv_transfer", "waited 2.0 s for KV from elsewhere"),
        ("prefill", "1,000 tokens took 2.0 s longer than usual"),
        ("interference", "2.0 s by prompts of others, in 12 of 80 steps"),
        (
            "preemption",
            "2.0 s out of the batch or computing again, 1 preemption, KV cache 99% full",
        ),
        ("batch_growth", "2.0 s by requests in the same steps, batch of 7.2"),
        ("decode", "steps took 2.0 s longer than usual in 64 tokens"),
        ("delivery", "the client read the answer 2.0 s after the last token"),
    ],
)
def test_each_cause_has_its_figures(cause: str, reason: str) -> None:
    """No option helps against a slow client, or an engine that is slower than usual."""
    attributes = report(cause, 2.0)
    assert attributes[names.MAIN_DELAY_CAUSE] == cause
    assert attributes[names.DELAY_AVOIDABLE] == 2.0
    assert attributes[names.DELAY_REASON] == reason
    assert attributes.get(names.DELAY_OPTION) == OPTIONS.get(cause)
    assert set(OPTIONS) == set(CAUSES) - {"prefill", "decode", "delivery"}


def test_a_full_kv_cache_takes_no_larger_batch() -> None:
    """A queue before a full cache is not shortened by more places in the batch."""
    full = MET._replace(kv_usage_at_admission=0.97)
    assert report("queue", 2.0, full)[names.DELAY_OPTION] == OPTIONS["preemption"]


def test_what_is_not_worth_a_change_is_not_named() -> None:
    """Below 5 % of the request there is no main cause."""
    attributes = report("queue", 0.4)
    assert names.MAIN_DELAY_CAUSE not in attributes
    assert names.DELAY_OPTION not in attributes
