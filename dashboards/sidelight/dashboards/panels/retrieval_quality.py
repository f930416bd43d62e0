"""Retrieval quality: whether searches still find what they used to, from the collector's spans."""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.panels.panel import AMBER, COUNT, SHARE, Limit, Panel, Row, Target, by
from sidelight.dashboards.panels.panel import RED as RED_COLOUR
from sidelight.dashboards.promql import highest, quantile, ratio, total
from sidelight.dashboards.queries.series import DB_COLLECTION, DB_SYSTEM, SCORE_SCALE, own, own_rate

# Scores of different scales never share a line: a fused rank is no worse than a cosine.
_SERIES: Final = (DB_SYSTEM, DB_COLLECTION, SCORE_SCALE)
_TOP: Final = own_rate(names.RETRIEVAL_TOP_SCORE, "_bucket")

RETRIEVAL_QUALITY: Final = Row(
    "Retrieval quality",
    (
        Panel(
            "Top scores",
            "Median score of the best hit, by collection and what scores are measured in. Whether "
            "higher is better depends on that. The points are single searches: each leads to its "
            "trace.",
            COUNT,
            (Target(quantile(0.5, _TOP, *_SERIES), by(*_SERIES), exemplars=True),),
        ),
        Panel(
            "Drift of top scores",
            "How far the last hour's top scores have moved from those of the day before "
            "(population stability index): below 0.1 nothing, above 0.25 they have changed. "
            "Absent while there are too few searches.",
            COUNT,
            (Target(highest(own(names.RETRIEVAL_DRIFT, ""), *_SERIES), by(*_SERIES)),),
            limits=(Limit(0.1, AMBER), Limit(0.25, RED_COLOUR)),
        ),
        Panel(
            "Poor searches",
            "Share of searches whose best hit is worse than 95 % of the day before: a twentieth "
            "while nothing has changed. The points are such searches.",
            SHARE,
            (
                Target(
                    ratio(
                        total(own_rate(names.RETRIEVAL_POOR, "_total"), *_SERIES),
                        total(own_rate(names.RETRIEVAL_TOP_SCORE, "_count"), *_SERIES),
                    ),
                    by(*_SERIES),
                    exemplars=True,
                ),
            ),
            limits=(Limit(0.1, AMBER), Limit(0.2, RED_COLOUR)),
            maximum=1,
        ),
    ),
)
