"""Scores of a search: what is kept of them, and which way is better."""

from __future__ import annotations

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.chroma.description import CHROMA
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.description import Database
from sidelight.instrumentation.vectordb.core.scores import (
    MAX_METRIC_TYPES,
    ScoreDirections,
    averaged,
    summarised,
)
from sidelight.instrumentation.vectordb.core.target import CallTargets
from sidelight.instrumentation.vectordb.milvus.description import MILVUS
from sidelight.instrumentation.vectordb.qdrant.description import QDRANT


class TestSummaries:
    def test_are_four_figures(self) -> None:
        """Best, last, mean, and the gap between the best two, never negative."""
        assert summarised([0.25, 0.5, 1.5]) == (0.25, 1.5, 0.75, 0.25)
        assert summarised([0.9]) == (0.9, 0.9, 0.9, None)

    def test_of_a_batch_are_the_means_over_its_queries(self) -> None:
        """A query with a single hit has no gap and does not count in that of the batch."""
        queries = [(0.5, 0.25, 0.375, 0.25), (1.5, 1.5, 1.5, None)]

        assert averaged(queries) == (1.0, 0.875, 0.9375, 0.25)
        assert averaged(queries[1:]) == (1.5, 1.5, 1.5, None)


class TestDirections:
    @pytest.mark.parametrize(
        ("database", "metric_type", "scores", "direction"),
        [
            (MILVUS, "COSINE", [0.9, 0.8], "higher_is_better"),
            (MILVUS, "ip", [0.9], "higher_is_better"),
            (MILVUS, "MAX_SIM_COSINE", [0.9], "higher_is_better"),
            (MILVUS, "L2", [0.1, 0.2], "lower_is_better"),
            (QDRANT, "Dot", [0.9], "higher_is_better"),
            (QDRANT, "Euclid", [0.1], "lower_is_better"),
            (CHROMA, "cosine", [0.1], "lower_is_better"),
            (CHROMA, None, [0.1], "lower_is_better"),
            (MILVUS, None, [0.9, 0.8], "higher_is_better"),
            (MILVUS, None, [0.8, 0.9], "lower_is_better"),
            (MILVUS, "NEW", [0.8, 0.9], "lower_is_better"),
            (MILVUS, None, [0.8, 0.8], None),
            (MILVUS, None, [0.8], None),
        ],
    )
    def test_are_those_of_the_database(
        self,
        database: Database,
        metric_type: str | None,
        scores: list[float],
        direction: str | None,
    ) -> None:
        """The description says which way is better, or else the order of the hits does."""
        call = DatabaseCall(Settings(), {})
        call.target = CallTargets(database).get("search", "docs")
        call.metric_type = metric_type

        call.set_scores([scores])

        assert call.attributes.get(names.VECTOR_SCORE_DIRECTION) == direction

    def test_of_many_metric_types_do_not_fill_the_memory(self) -> None:
        """An app may write anything as a metric type."""
        directions = ScoreDirections(MILVUS.score_directions)

        for number in range(2 * MAX_METRIC_TYPES):
            assert directions.of(f"L{number}", []) == ("lower_is_better" if number == 2 else None)

        assert len(directions._known) == MAX_METRIC_TYPES
