"""What the scores of a search say: best, last, mean, gap, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

# Of one query, best hit first: top, last, mean, and the gap between the best two if there are two.
# A plain tuple, as making an object of a class takes several times as long.
Figures = tuple[float, float, float, float | None]

HIGHER_IS_BETTER: Final = "higher_is_better"
LOWER_IS_BETTER: Final = "lower_is_better"

# Similarities and distances of Milvus, Qdrant (DOT, EUCLID, …) and Chroma (ip, l2), upper case.
_SIMILARITIES: Final = frozenset({"COSINE", "IP", "BM25", "DOT"})
_DISTANCES: Final = frozenset(
    {"L2", "EUCLID", "MANHATTAN", "HAMMING", "JACCARD", "TANIMOTO", "MHJACCARD", "SUPERSTRUCTURE",
     "SUBSTRUCTURE"}
)  # fmt: skip


def direction(metric_type: str | None, scores: Sequence[float]) -> str | None:
    """Which scores are better, from the metric's name or else from the order of the hits.

    Every database returns the best hit first, so two different scores tell the direction
    where the metric is unknown. None if neither says.
    """
    way = _direction_of(metric_type) if metric_type is not None else None
    if way is None and len(scores) > 1 and scores[0] != scores[-1]:
        return HIGHER_IS_BETTER if scores[0] > scores[-1] else LOWER_IS_BETTER
    return way


@lru_cache(maxsize=64)
def _direction_of(metric_type: str) -> str | None:
    name = metric_type.upper()
    if name in _SIMILARITIES or name.startswith("MAX_SIM"):
        return HIGHER_IS_BETTER
    return LOWER_IS_BETTER if name in _DISTANCES else None


def summarised(scores: Sequence[float]) -> Figures:
    """What is kept of the scores of one query's hits, of which there is at least one."""
    hits = len(scores)
    top = scores[0]
    gap = abs(top - scores[1]) if hits > 1 else None
    return top, scores[-1], sum(scores) / hits, gap


def averaged(queries: Sequence[Figures]) -> Figures:
    """Of a batch of queries, the mean of each figure over its queries."""
    tops, lasts, means, gaps = zip(*queries, strict=True)
    known = [gap for gap in gaps if gap is not None]
    return _mean(tops), _mean(lasts), _mean(means), _mean(known) if known else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
