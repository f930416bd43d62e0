"""The ring of engine steps, and what a request met in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidelight.instrumentation.vllm.steps import EngineConditions, EngineStep, StepHistory


def step(
    at: float,
    running: int | None = 1,
    *,
    waiting: int = 0,
    kv: float = 0.1,
    prompt: int = 0,
    finished: int = 0,
) -> EngineStep:
    return EngineStep(
        at=at,
        running=running,
        waiting=None if running is None else waiting,
        kv_usage=None if running is None else kv,
        prompt_tokens=prompt,
        generation_tokens=1,
        preemptions=0,
        prefix_queries=0,
        prefix_hits=0,
        finished=finished,
    )


def timeline(*steps: EngineStep) -> StepHistory:
    made = StepHistory()
    for each in steps:
        made.add(each)
    return made


def test_what_a_request_met() -> None:
    """Batch, KV use and others' prefill are those of its own steps, state that of before."""
    steps = timeline(
        step(1.0, running=7, waiting=3, kv=0.5),
        step(2.0, running=8, waiting=1, kv=0.6, prompt=30),
        step(3.0, running=4, kv=0.9, prompt=12, finished=1),
        step(4.0, running=2, kv=0.3, finished=1),
        step(5.0, running=99, kv=1.0),
    )
    assert steps.conditions(
        queued=1.2, scheduled=1.5, first_token=2.0, end=4.0
    ) == EngineConditions(
        steps=3,
        steps_with_prefill=1,
        batch_mean=16 / 3,
        batch_max=8,
        waiting_at_arrival=3,
        kv_usage_at_admission=0.5,
        kv_usage_peak=0.9,
    )


def test_own_prefill_is_not_others() -> None:
    """The step of the first token is the request's own, whichever way the clocks jitter."""
    steps = timeline(step(1.0, prompt=20), step(2.0), step(3.0))
    for first_token in (0.98, 1.0, 1.02):
        assert steps.conditions(0.5, 0.6, first_token, 3.0).steps_with_prefill == 0


def test_finished_sequences_were_in_the_batch() -> None:
    """A lone request counts itself in its last step, after which nothing runs."""
    met = timeline(step(1.0), step(2.0, running=0, finished=1)).conditions(0.0, 0.5, 1.0, 2.0)
    assert (met.batch_mean, met.batch_max) == (1.0, 1)


def test_steps_without_scheduler_figures() -> None:
    """Where the figures went to another API server nothing is made up."""
    met = timeline(step(1.0, running=None), step(2.0, running=None)).conditions(0.0, 0.5, 1.0, 2.0)
    assert met == EngineConditions(2, 0, None, None, None, None, None)


def test_empty() -> None:
    """Without any step all that is known is that there were none."""
    assert StepHistory().conditions(1.0, 2.0, 3.0, 4.0) == EngineConditions(
        0, 0, None, None, None, None, None
    )


def test_steps_out_of_order() -> None:
    """A step that another API server reports late takes its place in time."""
    steps = timeline(step(100.0, running=50), step(2.0, running=2), step(1.0, running=3))
    assert len(steps) == 3
    met = steps.conditions(0.0, 0.5, 1.0, 2.0)
    assert (met.steps, met.batch_max) == (2, 3)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 40))
def test_bounded(times: list[float], capacity: int) -> None:
    """The ring never holds twice its capacity, and always the newest steps."""
    ring = StepHistory(capacity)
    for at in sorted(times):
        ring.add(step(at))
        assert 0 < len(ring) < 2 * capacity or capacity == 1
    end = max(times)
    assert ring.conditions(end, end - 1.0, end, end).steps >= 1


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(0, 50), st.floats(0, 1), st.integers(0, 9)),
        max_size=60,
    ),
    st.lists(st.floats(0, 100), min_size=4, max_size=4),
)
def test_bounds(samples: list[tuple[float, int, float, int]], times: list[float]) -> None:
    """Mean never exceeds maximum, peak never lies below admission, counts fit each other."""
    ring = timeline(*(step(a, r, kv=k, prompt=p) for a, r, k, p in sorted(samples)))
    met = ring.conditions(*sorted(times))
    assert 0 <= met.steps_with_prefill <= met.steps <= len(samples)
    if met.batch_mean is not None and met.batch_max is not None:
        assert met.batch_mean <= met.batch_max + 1e-9
    if met.kv_usage_at_admission is not None:
        assert met.kv_usage_peak is not None
        assert met.kv_usage_peak >= met.kv_usage_at_admission
