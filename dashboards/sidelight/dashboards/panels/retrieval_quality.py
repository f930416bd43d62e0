"""Retrieval quality: whether searches still find what they used to, from the collector's spans."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog.metric import Dimension
from sidelight.dashboards.catalog.sidelight import (
    DB_COLLECTION,
    DB_SYSTEM,
    SCORE_SCALE,
    VECTOR_FIELD,
)
from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNT,
    RED,
    SHARE,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
)
from sidelight.dashboards.queries import retrieval as queries
from sidelight.dashboards.view import View

_BY: Final[tuple[Dimension, ...]] = ("database", "collection")
_LEGEND: Final = by(DB_SYSTEM, DB_COLLECTION, SCORE_SCALE, VECTOR_FIELD)


def row(view: View) -> Row:
    """Scores, their drift, and poor searches."""
    return Row(
        "Retrieval quality",
        (
            top_scores(view),
            top_score_drift(view),
            poor_searches(view),
        ),
    )


def top_scores(view: View) -> Panel:
    """Median score of the best hit, by collection and scale."""
    return Panel(
        "Top scores",
        "Median score of the best hit, by collection and score scale. The scale decides whether "
        "higher is better. Each exemplar links to the trace of one search.",
        COUNT,
        (
            PanelQuery(
                queries.top_score_quantile(view.per(*_BY), 0.5),
                _LEGEND,
                exemplars=True,
            ),
        ),
    )


def top_score_drift(view: View) -> Panel:
    """How far scores have moved since the day before."""
    return Panel(
        "Top-score drift",
        "How far the top scores of the last hour have moved from those of the day before, as a "
        "population stability index: below 0.1 they are stable, above 0.25 they have changed. "
        "No data while there are too few searches.",
        COUNT,
        (PanelQuery(queries.score_drift(view.per(*_BY)), _LEGEND),),
        thresholds=(Threshold(0.1, AMBER), Threshold(0.25, RED)),
    )


def poor_searches(view: View) -> Panel:
    """Share of searches worse than almost all of the day before."""
    return Panel(
        "Poor searches",
        "Share of searches whose best hit is worse than 95 % of those of the day before. About "
        "5 % is normal. Each exemplar links to the trace of a poor search.",
        SHARE,
        (
            PanelQuery(
                queries.poor_ratio(view.per(*_BY)),
                _LEGEND,
                exemplars=True,
            ),
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(0.2, RED)),
        maximum=1,
    )
