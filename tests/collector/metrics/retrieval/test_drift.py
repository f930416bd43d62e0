"""Drift: a stability index over the baseline's quantiles, and the windows it compares."""

from __future__ import annotations

import math
import random
from bisect import bisect_left

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidelight.collector.metrics.retrieval.drift import (
    BINS,
    MIN_BASELINE,
    MIN_WINDOW,
    Drift,
    counts,
    edges,
    psi,
)

HOUR = 3600.0
DAY = 24 * HOUR

scores = st.floats(-1000, 1000, allow_nan=False, width=32)
samples = st.lists(scores, min_size=1, max_size=300)
histograms = st.integers(1, 20).flatmap(
    lambda bins: st.tuples(
        *(st.lists(st.integers(0, 10_000), min_size=bins, max_size=bins) for _ in range(2))
    )
)


class TestIndex:
    @given(histograms)
    def test_it_is_never_negative_and_the_same_both_ways(
        self, pair: tuple[list[int], list[int]]
    ) -> None:
        """However the two differ, and however few there are."""
        before, now = pair
        assert psi(before, now) >= 0
        assert psi(before, now) == pytest.approx(psi(now, before))

    @given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
    def test_equal_histograms_have_none(self, histogram: list[int]) -> None:
        """The same counts in the same bins are no drift."""
        assert psi(histogram, histogram) == pytest.approx(0)

    def test_the_textbook_figure(self) -> None:
        """Shares of 0.5 and 0.5 that become 0.6 and 0.4: (0.1)(ln 1.2) + (-0.1)(ln 0.8)."""
        expected = 0.1 * math.log(1.2) - 0.1 * math.log(0.8)
        assert psi([500_000, 500_000], [600_000, 400_000]) == pytest.approx(expected, rel=1e-4)

    def test_chance_alone_is_no_drift(self) -> None:
        """As documented: 19 of 20 below 0.12 at the smallest sample, below 0.05 at a full one."""
        for baseline, window, bound in ((MIN_BASELINE, MIN_WINDOW, 0.12), (6144, 480, 0.05)):
            found = sorted(moved(0.0, baseline, window, seed) for seed in range(100))
            assert found[94] < bound

    def test_the_further_the_more(self) -> None:
        """As documented: from a third of the standard deviation to look at, from a half changed."""
        for deviations, low, high in ((1 / 3, 0.05, 0.2), (0.5, 0.15, 0.35), (1.0, 0.8, 1.2)):
            found = [moved(deviations, 6144, 480, seed) for seed in range(20)]
            assert low < sum(found) / 20 < high


def moved(deviations: float, baseline: int, window: int, seed: int) -> float:
    """The index after normally spread scores moved by so many standard deviations."""
    source = random.Random(seed)
    ordered = sorted(source.gauss(0.8, 0.05) for _ in range(baseline))
    bounds = edges(ordered)
    later = [source.gauss(0.8 - deviations * 0.05, 0.05) for _ in range(window)]
    return psi(counts(ordered, bounds), counts(later, bounds))


class TestBins:
    @given(samples)
    def test_every_value_is_in_one_bin(self, values: list[float]) -> None:
        """Bounds rise, and the counts are those of the values."""
        bounds = edges(sorted(values))
        assert bounds == sorted(set(bounds))
        assert sum(counts(values, bounds)) == len(values)
        assert len(bounds) < 2 * BINS

    @given(samples, st.floats(-1000, 1000, allow_nan=False))
    def test_a_bin_holds_what_is_above_the_last_bound_up_to_its_own(
        self, values: list[float], value: float
    ) -> None:
        """So that a bound itself is in the bin that it ends."""
        bounds = edges(sorted(values))
        (place,) = [index for index, count in enumerate(counts([value], bounds)) if count]
        assert place == 0 or bounds[place - 1] < value
        assert place == len(bounds) or value <= bounds[place]

    @given(st.sets(scores, min_size=100, max_size=300))
    def test_without_repeats_bins_hold_a_tenth_each(self, values: set[float]) -> None:
        """They are the quantiles of what they were made from."""
        found = counts(list(values), edges(sorted(values)))
        assert len(found) == BINS
        assert max(found) - min(found) <= 2

    @given(scores, st.integers(1, 100))
    def test_one_value_alone_leaves_room_on_both_sides(self, value: float, times: int) -> None:
        """A better and a worse score are told from it, even where all before were equal."""
        bounds = edges([value] * times)
        places = {bisect_left(bounds, each) for each in (value - 1, value, value + 1)}
        assert len(places) == 3

    @given(samples, samples)
    def test_scale_and_place_of_scores_do_not_matter(
        self, before: list[float], now: list[float]
    ) -> None:
        """Cosine similarities and distances of thousands drift alike."""
        bounds = edges(sorted(before))
        scaled = edges(sorted(8 * value for value in before))
        assert [counts(each, bounds) for each in (before, now)] == [
            counts([8 * value for value in each], scaled) for each in (before, now)
        ]

    def test_nothing_has_no_bins(self) -> None:
        """And one bin for everything."""
        assert edges([]) == []
        assert counts([1.0, 2.0], []) == [2]


def filled(drift: Drift, seconds: float, *, mean: float = 0.8, start: float = 0.0) -> float:
    """Scores around a mean, one in ten seconds; returns the time after the last."""
    source = random.Random(int(start) + 1)
    for step in range(int(seconds / 10)):
        drift.add(source.gauss(mean, 0.05), start + 10 * step)
    return start + seconds


class TestWindows:
    def test_it_says_nothing_until_there_is_enough(self) -> None:
        """Neither a short baseline nor a short window is compared."""
        drift = Drift(HOUR, DAY, lower_is_better=False, seed=1)
        now = filled(drift, HOUR)
        assert math.isnan(drift.value(now))
        # The baseline begins behind the window: another hour and a half until it has enough.
        now = filled(drift, 2 * HOUR, start=now)
        assert drift.value(now) < 0.15
        assert math.isnan(drift.value(now + HOUR))

    @given(st.integers(0, MIN_WINDOW + 50), st.integers(0, MIN_BASELINE + 50))
    @example(MIN_WINDOW, MIN_BASELINE)
    @example(MIN_WINDOW - 1, MIN_BASELINE)
    @example(MIN_WINDOW, MIN_BASELINE - 1)
    def test_both_need_their_least_number(self, window: int, baseline: int) -> None:
        """Exactly from these numbers on there is a value."""
        drift = Drift(HOUR, DAY, lower_is_better=False, seed=1)
        spread = [0.0, HOUR / 2, HOUR, 1.5 * HOUR, 2 * HOUR]
        for number in range(baseline):
            drift.add(number % 7, spread[number % len(spread)])
        for number in range(window):
            drift.add(number % 7, 9 * HOUR + number % 2 * HOUR / 2)
        is_known = window >= MIN_WINDOW and baseline >= MIN_BASELINE
        assert math.isnan(drift.value(9.5 * HOUR)) != is_known

    def test_a_change_shows_within_a_window_and_is_the_rule_after_a_baseline(self) -> None:
        """The baseline trails: what stays becomes what later scores are compared with."""
        drift = Drift(HOUR, DAY, lower_is_better=False, seed=1)
        now = filled(drift, DAY)
        assert drift.value(now) < 0.1
        now = filled(drift, HOUR, mean=0.7, start=now)
        assert drift.value(now) > 0.25
        now = filled(drift, DAY + 2 * HOUR, mean=0.7, start=now)
        assert drift.value(now) < 0.1

    def test_worse_scores_are_pointed_out(self) -> None:
        """Those beyond the worst twentieth of the baseline, on the worse side only."""
        for lower_is_better, poor, fine in ((False, 0.1, 2.0), (True, 2.0, 0.1)):
            drift = Drift(HOUR, DAY, lower_is_better=lower_is_better, seed=1)
            assert not drift.add(poor, 0.0)
            now = filled(drift, 4 * HOUR)
            assert drift.add(poor, now)
            assert not drift.add(fine, now)
            assert not drift.add(0.8, now)
        unknown = Drift(HOUR, DAY, lower_is_better=None, seed=1)
        now = filled(unknown, 4 * HOUR)
        assert not unknown.add(0.1, now)

    def test_equal_scores_are_not_worse_than_themselves(self) -> None:
        """Fused ranks take few values, which narrowing must not make unequal."""
        drift = Drift(HOUR, DAY, lower_is_better=False, seed=1)
        for step in range(2000):
            drift.add(2 / 61, 10.0 * step)
        assert not drift.add(2 / 61, 20_000.0)
        assert drift.value(20_000.0) == pytest.approx(0, abs=0.02)
        assert drift.add(1 / 61, 20_000.0)

    def test_memory_stays_bounded_under_any_load(self) -> None:
        """A day of a thousand searches a minute keeps 128 scores for each half hour."""
        drift = Drift(HOUR, DAY, lower_is_better=False, seed=1)
        for number in range(100_000):
            drift.add(number % 1000, number * 1.0)
        sizes = [len(slot.scores) for slot in drift._slots]
        assert len(sizes) <= 51
        assert max(sizes[:-3]) <= 128
        assert max(sizes) <= 192

    def test_a_phase_shifts_when_half_windows_begin(self) -> None:
        """The value is as good; what it is made of moves on at another moment."""
        drifts = [Drift(HOUR, DAY, lower_is_better=None, phase=each, seed=1) for each in (0, 0.5)]
        for drift in drifts:
            now = filled(drift, 6 * HOUR)
            assert drift.value(now) < 0.1
        first, shifted = ([slot.number for slot in drift._slots] for drift in drifts)
        assert first == list(range(12))
        assert shifted == list(range(13))

    @pytest.mark.parametrize("odd", [1e39, -1e39, math.inf, -math.inf])
    def test_scores_too_large_to_keep_are_passed_over(self, odd: float) -> None:
        """They are no scores of any metric."""
        drift = Drift(HOUR, DAY, lower_is_better=False, seed=1)
        assert not drift.add(odd, 0.0)
        assert not drift._slots
