"""What holds of delay causes whatever the engine told: sums, signs, and the order of steps."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidelight.instrumentation.vllm.delay.baseline import StepBaseline
from sidelight.instrumentation.vllm.delay.causes import (
    CAUSES,
    FEW_STEPS,
    KV_FETCHED,
    NO_FIGURES,
    NO_STEPS,
    delay_of,
)
from sidelight.instrumentation.vllm.delay.engine import EngineTimes
from sidelight.instrumentation.vllm.delay.timeline import timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.step_parts import merge_parts
from sidelight.instrumentation.vllm.steps import EngineStep
from support.simulated_engine import Engine, Request, run

SEQUENCE = FinishedSequence(
    request_id="chatcmpl-1", engine=0, finish_reason="stop", finished=3.0, arrival=0.1,
    queued=0.5, scheduled=1.0, first_token=1.5, last_token=3.0, prompt_tokens=32,
    generated_tokens=16,
)  # fmt: skip
# The same to the millisecond: a sum that is off by more has lost something.
EXACT = 0.001

times = st.floats(0, 20)
maybe = st.none() | times
counts = st.integers(0, 6)
steps = st.builds(
    EngineStep,
    at=times, running=st.none() | counts, waiting=st.none() | counts, kv_usage=st.none(),
    prompt_tokens=st.integers(0, 4000), generation_tokens=counts, preemptions=counts,
    prefix_queries=counts, prefix_hits=counts, finished=counts, decoding=st.none() | counts,
    prefilled=counts, deferred=counts, fetching=counts,
)  # fmt: skip
periods = st.lists(st.tuples(times, times, times).map(lambda t: tuple(sorted(t))), max_size=4)
sequences = st.builds(
    FinishedSequence,
    request_id=st.just("a"), engine=st.just(0), finish_reason=st.sampled_from(["stop", "abort"]),
    finished=times, arrival=times, queued=maybe, scheduled=maybe, first_token=maybe,
    last_token=maybe, prompt_tokens=st.integers(0, 4000), cached_tokens=st.integers(0, 4000),
    generated_tokens=st.integers(0, 60), preemptions=st.integers(0, 2),
    preempted=periods.map(lambda drawn: tuple(sorted(drawn))),
)  # fmt: skip
learned = st.lists(st.tuples(st.integers(1, 300), st.floats(0.0001, 1.0)), max_size=40)


def baseline(decodes: list[tuple[int, float]], prompts: list[tuple[int, float]]) -> StepBaseline:
    made = StepBaseline()
    for batch, seconds in decodes:
        made.learn_decode(batch, seconds)
    for tokens, seconds in prompts:
        made.learn_prefill(tokens, seconds)
    return made


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(times, times, sequences, st.lists(steps, max_size=30), learned, learned, st.randoms())
def test_whatever_was_told(
    start: float,
    end: float,
    sequence: FinishedSequence,
    seen: list[EngineStep],
    decodes: list[tuple[int, float]],
    prompts: list[tuple[int, float]],
    order: random.Random,
) -> None:
    """The causes add up to the request, none is negative, and the steps may come in any order."""
    known = baseline(decodes, prompts)
    edges = timeline(start, end, sequence)
    delay = delay_of(edges, sequence, seen, known)
    assert set(delay.seconds) == set(CAUSES)
    assert sum(delay.seconds.values()) == pytest.approx(max(0.0, end - start), abs=EXACT)
    assert min(delay.seconds.values()) >= -1e-9
    assert all(0 <= delay.avoidable[cause] <= delay.seconds[cause] + 1e-9 for cause in CAUSES)
    shuffled = list(seen)
    order.shuffle(shuffled)
    again = delay_of(edges, sequence, shuffled, known)
    # Only steps of one moment have no order.
    if len({step.at for step in seen}) == len(seen):
        assert again.seconds == pytest.approx(delay.seconds)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**32))
def test_missing_steps(share: float, seed: int) -> None:
    """With steps lost on the way, the causes still add up; nothing is blamed on lost steps."""
    made = run(Engine(per_request=0.002), [Request(at=0.1 * number) for number in range(6)])
    rng = random.Random(seed)
    left = [step for step in made.steps if rng.random() >= share]
    for served in made.served:
        delay = delay_of(served.edges, served.sequence, left, baseline([(1, 0.012)] * 9, []))
        assert sum(delay.seconds.values()) == pytest.approx(served.seconds, abs=EXACT)


def test_no_steps_at_all() -> None:
    """Without steps, phases are all that is known, and the decode time is said to be estimated."""
    delay = delay_of(timeline(0.0, 3.5, SEQUENCE), SEQUENCE, [], StepBaseline())
    told = {cause: seconds for cause, seconds in delay.seconds.items() if seconds}
    assert told == {"frontend": 0.5, "queue": 0.5, "prefill": 0.5, "decode": 1.5, "delivery": 0.5}
    assert delay.estimated["decode"] == NO_FIGURES
    assert "queue" not in delay.estimated


def test_a_cold_engine_says_so() -> None:
    """Before any decode-only step there is nothing to compare with."""
    made = run(Engine(), [Request(at=0.0)])
    (served,) = made.served
    delay = delay_of(served.edges, served.sequence, made.steps, StepBaseline())
    assert delay.seconds["interference"] == delay.seconds["batch_growth"] == 0
    assert delay.estimated["decode"] == NO_STEPS
    few = delay_of(served.edges, served.sequence, made.steps, baseline([(1, 0.0102)], []))
    assert few.estimated["decode"] == FEW_STEPS


@pytest.mark.parametrize("told", [True, False])
def test_preempted_twice(told: bool) -> None:
    """Both absences count, whether or not vLLM tells when they were."""
    engine = Engine(kv_tokens=1400, per_prompt_token=0.00001)
    requests = [
        Request(at=0.0, prompt=600, output=200),
        Request(at=0.1, prompt=600, output=360, affected=True),
        Request(at=0.2, prompt=600, output=200),
    ]
    made = run(engine, requests, tells_preemptions=told)
    served, delay = next(pair for pair in made.delays() if pair[0].sequence.preemptions)
    told_run = run(engine, requests)
    times = next(s.sequence for s in told_run.served if s.sequence.preemptions)
    truth = sum(back - left for left, _, back in times.preempted)
    assert delay.seconds["preemption"] == pytest.approx(truth, rel=0.15)
    assert sum(delay.seconds.values()) == pytest.approx(served.seconds, abs=EXACT)


def test_waiting_for_kv() -> None:
    """A request waits for its KV while KV is fetched and no request waits for capacity."""
    step = EngineStep(0.0, 2, 1, 0.5, 0, 2, 0, 0, 0, 0, decoding=2, deferred=1, fetching=1)
    fetching = [step._replace(at=0.6), step._replace(at=0.75)]
    busy = step._replace(at=1.0, waiting=3)
    delay = delay_of(timeline(0.0, 3.5, SEQUENCE), SEQUENCE, [*fetching, busy], StepBaseline())
    assert delay.seconds["kv_transfer"] == pytest.approx(0.25)
    assert delay.seconds["queue"] == pytest.approx(0.25)
    assert delay.estimated["kv_transfer"] == delay.estimated["queue"] == KV_FETCHED


def test_steps_that_several_api_servers_report() -> None:
    """The parts of each step, put together, give the same delays as the whole steps."""
    requests = [Request(at=0.15 * number, output=60) for number in range(8)]
    made = run(Engine(per_request=0.001), requests)
    parts: list[tuple[int, EngineStep]] = []
    for step in made.steps:
        decoding = (step.decoding or 0) // 2
        mine = step._replace(
            prompt_tokens=0, finished=0, prefilled=0, decoding=(step.decoding or 0) - decoding
        )
        other = EngineStep(
            at=step.at + 0.0001, running=None, waiting=None, kv_usage=None,
            prompt_tokens=step.prompt_tokens, generation_tokens=0, preemptions=0,
            prefix_queries=0, prefix_hits=0, finished=step.finished, decoding=decoding,
            prefilled=step.prefilled,
        )  # fmt: skip
        parts += [(1, mine), (2, other)]
    whole, shared = EngineTimes(), EngineTimes()
    for step in made.steps:
        whole.add(step)
    for step in merge_parts(parts):
        shared.add(step)
    for served in made.served:
        one, same = (
            known.delay(served.edges, served.sequence).seconds for known in (whole, shared)
        )
        assert same == pytest.approx(one, abs=EXACT)


def test_aborted_before_the_first_token() -> None:
    """The engine tells nothing of it: it was in the queue, and the figure is an estimate."""
    aborted = replace(
        SEQUENCE, finish_reason="abort", finished=2.0, queued=None, scheduled=None,
        first_token=None, last_token=None, generated_tokens=0,
    )  # fmt: skip
    delay = delay_of(timeline(0.0, 2.1, aborted), aborted, [], StepBaseline())
    told = {cause: seconds for cause, seconds in delay.seconds.items() if seconds}
    assert told == pytest.approx({"frontend": 0.1, "queue": 1.9, "delivery": 0.1})
    assert set(delay.estimated) == {"frontend", "queue"}
