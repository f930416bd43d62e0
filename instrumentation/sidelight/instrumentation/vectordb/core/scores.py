"""What the scores of a search say: best, last, mean, gap, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import isfinite
from typing import Final, NamedTuple

from sidelight.instrumentation.vectordb.core.description import ScoreDirection

ScoreSummary = tuple[float, float, float, float | None]
"""Of one query, best hit first: top, last, mean, and the gap between the best two if there are
two. A plain tuple, as making an object of a class takes several times as long."""

MAX_METRIC_TYPES: Final = 64


class ScoreScale(NamedTuple):
    """What scores are measured in, as far as it is known. Only scores of one scale compare."""

    metric_type: str | None = None
    ranker: str | None = None
    field: str | None = None
    """The vector field: those of one collection may hold dense and sparse vectors."""


NO_SCALE: Final = ScoreScale()


class ScoreDirections:
    """Which scores of a database are better, by metric type in any case."""

    __slots__ = ("_known", "_patterns")

    def __init__(self, patterns: Mapping[str, ScoreDirection]) -> None:
        """`patterns` are metric types in upper case, where `*` and `?` match."""
        self._patterns: Final = patterns
        self._known: dict[str | None, ScoreDirection | None] = {}

    def of(self, metric_type: str | None, scores: Sequence[float]) -> ScoreDirection | None:
        """The direction of one query's scores, from their metric type or else from their order.

        Every database returns the best hit first, so two different scores tell the direction
        where the metric type does not. None if neither does.
        """
        try:
            direction = self._known[metric_type]
        except KeyError:
            direction = self._of_new(metric_type)
        if direction is None and len(scores) > 1 and scores[0] != scores[-1]:
            return "higher_is_better" if scores[0] > scores[-1] else "lower_is_better"
        return direction

    def _of_new(self, metric_type: str | None) -> ScoreDirection | None:
        # Only a pattern that fits everything fits a metric type that is not known.
        name = (metric_type or "").upper()
        direction = next(
            (way for pattern, way in self._patterns.items() if fnmatchcase(name, pattern)), None
        )
        # Metric types are what apps write: they may be anything.
        if len(self._known) < MAX_METRIC_TYPES:
            self._known[metric_type] = direction
        return direction


NO_DIRECTIONS: Final = ScoreDirections({})
"""Of a database whose metric types say nothing."""


def summarised(scores: Sequence[float]) -> ScoreSummary | None:
    """The summary of one query's hits, of which there is at least one.

    Scores that are not finite are left out, as a similarity to a vector of zeros is. None if no
    other is left.
    """
    total = sum(scores)
    if not isfinite(total):
        scores = [score for score in scores if isfinite(score)]
        if not scores:
            return None
        total = sum(scores)
    hits = len(scores)
    top = scores[0]
    gap = abs(top - scores[1]) if hits > 1 else None
    return top, scores[-1], total / hits, gap


def averaged(queries: Sequence[ScoreSummary]) -> ScoreSummary:
    """Of a batch of queries, the mean of each figure over its queries."""
    tops, lasts, means, gaps = zip(*queries, strict=True)
    known = [gap for gap in gaps if gap is not None]
    return _mean(tops), _mean(lasts), _mean(means), _mean(known) if known else None


def by_scale(
    queries: Iterable[tuple[ScoreScale, ScoreSummary]],
) -> dict[ScoreScale, list[ScoreSummary]]:
    """The queries of a batch, those of one scale together."""
    together: dict[ScoreScale, list[ScoreSummary]] = {}
    for scale, summary in queries:
        together.setdefault(scale, []).append(summary)
    return together


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
