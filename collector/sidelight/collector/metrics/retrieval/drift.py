"""Tells whether scores are distributed as before: a population stability index and its baseline.

Pure but for a seeded choice of which scores to keep. docs/retrieval-health.md explains the
figures and the windows.
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import chain, pairwise

BINS = 10
MIN_WINDOW = 200
"""With fewer scores in the window, chance alone would look like drift."""
MIN_BASELINE = 500
# Of one slot, which is half a window: while it is in the window, and once it is in the baseline.
_FRESH_SCORES = 192
_KEPT_SCORES = 128
# The one that fills and two full ones: together never less than the window.
_WINDOW_SLOTS = 3
# How many of a hundred scores of the baseline are poor: the worst ones.
_POOR_PERCENT = 5


def edges(ordered: Sequence[float], bins: int = BINS) -> list[float]:
    """Upper, inclusive bounds of all bins but the last, at the quantiles of sorted values.

    Fewer than `bins` where values repeat. A value that fills a bin alone has a bound just below
    it too: else what falls below it would be counted with it.
    """
    if not ordered:
        return []
    cuts = [ordered[len(ordered) * number // bins] for number in range(1, bins)]
    repeated = {
        math.nextafter(low, -math.inf)
        for low, high in pairwise((ordered[0], *cuts, ordered[-1]))
        if low == high
    }
    return sorted(repeated.union(cuts))


def counts(values: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """How many values are in each bin."""
    binned = [0] * (len(bounds) + 1)
    for value in values:
        binned[bisect_left(bounds, value)] += 1
    return binned


def psi(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Population stability index of two histograms with the same bins; 0 for the same shares.

    Half a value is added to every bin, so that an empty one does not make it infinite.
    """
    bins = len(expected)
    was_total, is_total = sum(expected) + bins / 2, sum(actual) + bins / 2
    index = 0.0
    for before, now in zip(expected, actual, strict=True):
        was, is_ = (before + 0.5) / was_total, (now + 0.5) / is_total
        index += (is_ - was) * math.log(is_ / was)
    return index


class _Slot:
    """The scores of half a window: all of them, or an even sample."""

    __slots__ = ("number", "scores", "seen")

    def __init__(self, number: int) -> None:
        self.number = number
        self.scores = array("f")
        self.seen = 0

    def add(self, score: float, chance: random.Random) -> None:
        self.seen += 1
        if len(self.scores) < _FRESH_SCORES:
            self.scores.append(score)
        elif (place := int(chance.random() * self.seen)) < _FRESH_SCORES:
            self.scores[place] = score

    def shrink(self, chance: random.Random) -> None:
        """Keep fewer scores, once the slot has left the window for the baseline."""
        if len(self.scores) > _KEPT_SCORES:
            self.scores = array("f", chance.sample(list(self.scores), _KEPT_SCORES))


class Drift:
    """The scores of one series: the window, and the trailing baseline before it.

    Holds at most 128 scores of 4 bytes for each half window of the baseline.
    """

    def __init__(
        self,
        window_seconds: float,
        baseline_seconds: float,
        *,
        lower_is_better: bool | None,
        phase: float = 0.0,
        seed: int | None = None,
    ) -> None:
        """`lower_is_better` is None where that is not known: then no score is poor.

        `phase`, from 0 to 1, shifts when the half windows begin, so that not all series sort
        their baseline at the same moment.
        """
        self._slot_seconds = window_seconds / 2
        self._baseline_slots = math.ceil(baseline_seconds / self._slot_seconds)
        self._shift_seconds = phase * self._slot_seconds
        self._lower_is_better = lower_is_better
        self._chance = random.Random(seed)  # noqa: S311 (which scores are kept is no secret)
        self._slots: deque[_Slot] = deque()
        # As narrow as what is kept, so that equal scores stay equal.
        self._one = array("f", (0.0,))
        self._bounds: list[float] = []
        self._expected: list[int] = []
        self._poor: float | None = None

    def add(self, score: float, now: float) -> bool:
        """Take in a score; whether it is a poor one. `now` in seconds, never going back."""
        if abs(score) > 3e38:
            return False
        self._one[0] = score
        score = self._one[0]
        self._advance(now)
        number = self._slot_of(now)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number))
        self._slots[-1].add(score, self._chance)
        if self._poor is None or self._lower_is_better is None:
            return False
        return score > self._poor if self._lower_is_better else score < self._poor

    def value(self, now: float) -> float:
        """The index of the window against the baseline; NaN while there are too few scores."""
        self._advance(now)
        last = self._last_of_baseline(now)
        window = list(chain.from_iterable(s.scores for s in self._slots if s.number > last))
        if not self._expected or len(window) < MIN_WINDOW:
            return math.nan
        return psi(self._expected, counts(window, self._bounds))

    def _last_of_baseline(self, now: float) -> int:
        """Number of the newest slot that is no longer in the window."""
        return self._slot_of(now) - _WINDOW_SLOTS

    def _slot_of(self, now: float) -> int:
        return int((now + self._shift_seconds) // self._slot_seconds)

    def _advance(self, now: float) -> None:
        """Move slots from the window to the baseline and out of it, as time goes."""
        last = self._last_of_baseline(now)
        has_moved = False
        while self._slots and self._slots[0].number <= last - self._baseline_slots:
            self._slots.popleft()
            has_moved = True
        for slot in reversed(self._slots):
            if slot.number > last:
                continue
            if slot.seen == 0:
                break
            slot.shrink(self._chance)
            slot.seen = 0
            has_moved = True
        if has_moved:
            self._rebase(last)

    def _rebase(self, last: int) -> None:
        ordered = sorted(
            chain.from_iterable(slot.scores for slot in self._slots if slot.number <= last)
        )
        if len(ordered) < MIN_BASELINE:
            self._bounds, self._expected, self._poor = [], [], None
            return
        self._bounds = edges(ordered)
        self._expected = counts(ordered, self._bounds)
        worst = len(ordered) * _POOR_PERCENT // 100
        self._poor = ordered[-1 - worst] if self._lower_is_better else ordered[worst]
