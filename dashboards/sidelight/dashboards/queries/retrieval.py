"""Retrieval: searches as instrumented clients measure them, and their quality from spans."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog.sidelight import (
    DB_OPERATION,
    ERROR_TYPE,
    SCORE_SCALE,
    VECTOR_FIELD,
)
from sidelight.dashboards.promql import BinaryOperation, Expr, Matcher, ratio
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

SEARCH: Final = Matcher(DB_OPERATION, "=~", ".*search.*|query.*")
FAILED: Final = Matcher(ERROR_TYPE, "!=", "")
# Scores of different scales are never mixed: a fused rank of 0.03 is no worse than a cosine
# similarity of 0.8, and a sparse vector's product no better.
_BY_SCALE: Final = (SCORE_SCALE, VECTOR_FIELD)


def calls(view: View) -> Expr:
    """Calls to vector databases per second, by operation."""
    return series.total_rate(view, own.DB_DURATION, part="count", by=(DB_OPERATION,))


def search_duration_quantile(view: View, share: float) -> Expr:
    """Quantile of the duration of searches and queries, in seconds, network included."""
    return series.quantile(view, own.DB_DURATION, share, SEARCH)


def empty_ratio(view: View) -> Expr:
    """Share of searches that found nothing; each query of a batch counts."""
    # A query either has a top score or found nothing. Neither counter exists before its first
    # event.
    with_score = series.total_rate(view, own.TOP_SCORE, part="count")
    without_result = series.total_rate(view, own.EMPTY_SEARCHES)
    empty = series.or_zero(view, without_result, own.EMPTY_SEARCHES, own.TOP_SCORE, part="count")
    found = series.or_zero(view, with_score, own.TOP_SCORE, own.EMPTY_SEARCHES)
    return ratio(empty, BinaryOperation(empty, "+", found))


def errors(view: View) -> Expr:
    """Failed calls to vector databases per second, by `error_type`."""
    failed = series.total_rate(view, own.DB_DURATION, FAILED, part="count", by=(ERROR_TYPE,))
    return series.or_zero(view, failed, own.DB_DURATION, own.DB_DURATION, part="count")


def top_score_quantile(view: View, share: float) -> Expr:
    """Quantile of the score of a search's best hit, by scale."""
    return series.quantile(view, own.RETRIEVAL_TOP_SCORE, share, by=_BY_SCALE)


def score_drift(view: View) -> Expr:
    """Population stability index of the top scores against the day before, by scale."""
    return series.highest_now(view, own.RETRIEVAL_DRIFT, *_BY_SCALE)


def poor_ratio(view: View) -> Expr:
    """Share of searches whose best hit is worse than 95 % of the day before, by scale."""
    return ratio(
        series.total_rate(view, own.RETRIEVAL_POOR, by=_BY_SCALE),
        series.total_rate(view, own.RETRIEVAL_TOP_SCORE, part="count", by=_BY_SCALE),
    )


def searches(view: View) -> Expr:
    """Queries to vector databases per second in spans, by outcome."""
    return series.total_rate(view, own.RETRIEVAL_SEARCHES, by=(own.OUTCOME,))


def search_heatmap(view: View) -> Expr:
    """Searches per second by duration, in spans."""
    return series.buckets(view, own.RETRIEVAL_DURATION)
