"""What steps take undisturbed, learned from the steps of an engine."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.instrumentation.vllm.delay.baseline import (
    BATCH_BUCKETS,
    MAX_SAMPLES,
    MIN_STEP_SAMPLES,
    TOKEN_BUCKETS,
    RunningMedians,
    StepBaseline,
)


def medians(*samples: tuple[int, float]) -> RunningMedians:
    made = RunningMedians(BATCH_BUCKETS, 3)
    for size, seconds in samples:
        made.add(size, seconds)
    return made


def test_nothing_known() -> None:
    """Before the first sample there is no guess."""
    assert medians().expected(1) is None


def test_the_median_of_a_batch_size() -> None:
    """One slow step of many changes nothing."""
    assert medians((1, 0.01), (1, 0.01), (1, 9.0)).expected(1) == (0.01, True)


def test_few_samples_are_an_estimate() -> None:
    """Fewer than the minimum are used only if there is nothing better, and say so."""
    few = medians((1, 0.01))
    assert few.expected(1) == (0.01, False)
    for _ in range(3):
        few.add(2, 0.02)
    assert few.expected(1) == (0.02, False)


def test_between_and_beyond_known_sizes() -> None:
    """Between two sizes is as good as measured; beyond them is an estimate."""
    known = medians(*[(4, 0.010)] * 3, *[(8, 0.014)] * 3)
    expected = [known.expected(size) for size in (6, 1, 12)]
    assert [each and each.seconds for each in expected] == pytest.approx([0.012, 0.007, 0.018])
    assert [each and each.measured for each in expected] == [True, False, False]


def test_old_samples_give_way() -> None:
    """A step that becomes longer with the context is followed."""
    known = medians(*[(1, 0.01)] * MAX_SAMPLES, *[(1, 0.02)] * MAX_SAMPLES)
    assert known.expected(1) == (0.02, True)


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(1e-5, 10)), min_size=1, max_size=80))
def test_larger_batches_never_take_less(samples: list[tuple[int, float]]) -> None:
    """Whatever the machine did: the expectation is positive, and grows with the batch."""
    known = medians(*samples)
    expected = [known.expected(size) for size in (1, 2, 3, 5, 9, 40, 300, 5000)]
    seconds = [each.seconds for each in expected if each is not None]
    assert len(seconds) == len(expected)
    assert min(seconds) > 0
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(seconds))


def test_bounded() -> None:
    """However long the engine runs, the samples stay within 40 buckets of 63."""
    known = StepBaseline()
    for number in range(200_000):
        known.learn_decode(number % 4000 + 1, 0.01)
        known.learn_prefill(number * 7 % 2_000_000, 0.5)
    kept = known.samples()
    assert kept <= MAX_SAMPLES * (len(BATCH_BUCKETS) + len(TOKEN_BUCKETS))
    assert sys.getsizeof(0.1) * kept < 100_000
    assert MIN_STEP_SAMPLES < MAX_SAMPLES
