"""What the scores of a search say: best, last, mean, gap, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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
    if metric_type is not None:
        name = metric_type.upper()
        if name in _SIMILARITIES or name.startswith("MAX_SIM"):
            return HIGHER_IS_BETTER
        if name in _DISTANCES:
            return LOWER_IS_BETTER
    if len(scores) > 1 and scores[0] != scores[-1]:
        return HIGHER_IS_BETTER if scores[0] > scores[-1] else LOWER_IS_BETTER
    return None


class Scores:
    """Scores of one query's hits, best first, reduced to what is kept of them."""

    __slots__ = ("gap", "last", "mean", "top")

    def __init__(self, scores: Sequence[float]) -> None:
        """`scores` holds at least one score, best first."""
        self.top: float = scores[0]
        self.last: float = scores[-1]
        self.mean: float = sum(scores) / len(scores)
        self.gap: float | None = abs(scores[0] - scores[1]) if len(scores) > 1 else None


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return values[0] if len(values) == 1 else sum(values) / len(values)
