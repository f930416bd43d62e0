"""Qdrant calls as spans, in local mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from support.recording import Recording

RECORDS = 20


@pytest.fixture
def recording() -> Iterator[Recording]:
    """What is observed of qdrant-client while a test runs, with content."""
    recording = Recording()
    qdrant.instrument(
        recording.tracer_provider, recording.meter_provider, Settings(capture_content="full")
    )
    yield recording
    qdrant.uninstrument()
    recording.close()


@pytest.fixture
def client(recording: Recording) -> QdrantClient:
    """A client of a collection `docs`, whose creation was observed."""
    client = QdrantClient(":memory:")
    client.create_collection(
        "docs",
        {
            "title": models.VectorParams(size=2, distance=models.Distance.DOT),
            "body": models.VectorParams(size=2, distance=models.Distance.EUCLID),
        },
    )
    client.upsert("docs", [point(number) for number in range(RECORDS)])
    return client


def point(number: int) -> models.PointStruct:
    """A point with two vectors."""
    vector = [1.0, number / 10]
    return models.PointStruct(
        id=number, vector={"title": vector, "body": vector}, payload={"number": number}
    )


def numbers_from(lowest: int) -> models.Filter:
    """A filter for the points from a number on."""
    condition = models.FieldCondition(key="number", range=models.Range(gte=lowest))
    return models.Filter(must=[condition])


class TestQueries:
    @pytest.mark.parametrize(
        ("using", "metric_type", "direction"),
        [("title", "Dot", "higher_is_better"), ("body", "Euclid", "lower_is_better")],
    )
    def test_know_the_metric_type_from_the_creation_of_the_collection(
        self,
        client: QdrantClient,
        recording: Recording,
        using: str,
        metric_type: str,
        direction: str,
    ) -> None:
        """Of each vector its own, and with it which scores are better."""
        result = client.query_points("docs", query=[1.0, 0.5], using=using, limit=3)

        shown = recording.attributes("query_points docs")
        assert shown[names.VECTOR_METRIC_TYPE] == metric_type
        assert shown[names.VECTOR_SCORE_DIRECTION] == direction
        assert shown[names.VECTOR_FIELD] == using
        assert shown[names.VECTOR_DIMENSION] == 2
        assert shown[names.RETRIEVAL_TOP_K] == shown[names.DB_RETURNED_ROWS] == 3
        assert shown[names.VECTOR_SCORE_TOP] == pytest.approx(result.points[0].score)

    def test_keep_the_filter_as_json(self, client: QdrantClient, recording: Recording) -> None:
        """Where text may leave the process."""
        client.query_points("docs", query=[1.0, 0.5], using="title", query_filter=numbers_from(7))

        assert '"gte":7.0' in recording.attributes("query_points docs")[names.DB_FILTER]

    def test_of_a_batch_are_counted(self, client: QdrantClient, recording: Recording) -> None:
        """One span; its scores are the means over the queries."""
        requests = [
            models.QueryRequest(query=[1.0, number], using="title", limit=2)
            for number in (0.0, 1.0)
        ]
        results = client.query_batch_points("docs", requests)

        shown = recording.attributes("query_batch_points docs")
        tops = [result.points[0].score for result in results]
        assert shown[names.VECTOR_QUERY_COUNT] == shown[names.DB_BATCH_SIZE] == 2
        assert shown[names.DB_RETURNED_ROWS] == 4
        assert shown[names.VECTOR_SCORE_TOP] == pytest.approx(sum(tops) / 2)

    def test_that_are_fused_have_a_ranker_and_no_metric_type(
        self, client: QdrantClient, recording: Recording
    ) -> None:
        """Fused ranks are not comparable with similarities."""
        client.query_points(
            "docs",
            prefetch=[models.Prefetch(query=[1.0, 0.5], using=name) for name in ("title", "body")],
            query=models.FusionQuery(fusion=models.Fusion.RRF),
        )

        shown = recording.attributes("query_points docs")
        assert shown[names.VECTOR_RANKER] == "rrf"
        assert shown[names.VECTOR_BRANCHES] == 2
        assert names.VECTOR_METRIC_TYPE not in shown

    def test_for_nothing_have_no_scores(self, client: QdrantClient, recording: Recording) -> None:
        """Points in the order of their ids are not compared."""
        client.query_points("docs", limit=4)

        shown = recording.attributes("query_points docs")
        assert shown[names.DB_RETURNED_ROWS] == 4
        assert names.VECTOR_SCORE_TOP not in shown


class TestOtherOperations:
    @pytest.mark.parametrize(
        ("operation", "arguments", "rows"),
        [
            ("scroll", {"scroll_filter": numbers_from(15), "limit": 3}, 3),
            ("retrieve", {"ids": [1, 2, 99]}, 2),
            ("count", {"count_filter": numbers_from(15)}, None),
        ],
    )
    def test_that_read_count_their_rows(
        self,
        client: QdrantClient,
        recording: Recording,
        operation: str,
        arguments: dict[str, Any],
        rows: int | None,
    ) -> None:
        """They compare no vectors and are no retrievers."""
        getattr(client, operation)("docs", **arguments)

        shown = recording.attributes(f"{operation} docs")
        assert shown.get(names.DB_RETURNED_ROWS) == rows
        assert shown[names.SPAN_KIND] == "CHAIN"

    def test_that_write_count_their_records(
        self, client: QdrantClient, recording: Recording
    ) -> None:
        """As many as the call has points; an iterator is not counted."""
        client.upload_points("docs", (point(number) for number in (50, 51)))

        assert recording.attributes("upsert docs")[names.VECTOR_RECORDS] == RECORDS
        assert names.VECTOR_RECORDS not in recording.attributes("upload_points docs")
        assert client.count("docs").count == RECORDS + 2

    def test_that_precede_others_have_a_span_only_if_they_fail(
        self, client: QdrantClient, recording: Recording
    ) -> None:
        """Clients ask for a collection before many other calls."""
        client.get_collection("docs")
        with pytest.raises(ValueError, match="missing"):
            client.get_collection("missing")

        (span,) = recording.spans("get_collection missing")
        assert not span.status.is_ok
        assert recording.spans("get_collection docs") == []
