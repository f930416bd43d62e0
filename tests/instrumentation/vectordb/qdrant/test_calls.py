"""Qdrant calls as spans, in local mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, StrEnum
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from support.recording import Recording, attributes

RECORDS = 20
SPARSE = models.SparseVector(indices=[1, 7], values=[3.0, 4.0])


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
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    client.upsert("docs", [point(number) for number in range(RECORDS)])
    return client


class _TextEnum(str, Enum):  # noqa: UP042 (its `str()` is not its value)
    """As apps had it before there was StrEnum."""


def point(number: int) -> models.PointStruct:
    """A point with two vectors."""
    vector = [1.0, number / 10]
    return models.PointStruct(
        id=number,
        vector={"title": vector, "body": vector, "words": SPARSE},
        payload={"number": number},
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

    def test_of_two_local_databases_know_their_own_metric_types(
        self, client: QdrantClient, recording: Recording
    ) -> None:
        """Though their collections have one name and neither database has an address."""
        other = QdrantClient(":memory:")
        distance = models.Distance.COSINE
        other.create_collection("docs", {"title": models.VectorParams(size=2, distance=distance)})

        client.query_points("docs", query=[1.0, 0.5], using="title")
        other.query_points("docs", query=[1.0, 0.5], using="title")

        metric_types = [
            attributes(span)[names.VECTOR_METRIC_TYPE]
            for span in recording.spans("query_points docs")
        ]
        assert metric_types == ["Dot", "Cosine"]

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

    def test_of_several_scales_never_mix(self, client: QdrantClient, recording: Recording) -> None:
        """Each request of a batch counts on its own scale; the span has them as events."""
        fused = models.QueryRequest(
            prefetch=[models.Prefetch(query=[1.0, 0.5], using=name) for name in ("title", "body")],
            query=models.FusionQuery(fusion=models.Fusion.RRF),
        )
        requests = [
            models.QueryRequest(query=[1.0, 0.5], using="title", limit=3),
            models.QueryRequest(query=[1.0, 1.5], using="title", limit=3),
            models.QueryRequest(query=[1.0, 0.5], using="body", limit=2),
            models.QueryRequest(query=SPARSE, using="words", limit=2),
            fused,
            models.QueryRequest(query=models.OrderByQuery(order_by="number"), limit=2),
        ]
        results = client.query_batch_points("docs", requests)
        tops = [result.points[0].score for result in results]

        span = recording.span("query_batch_points docs")
        shown = attributes(span)
        assert shown[names.VECTOR_QUERY_COUNT] == shown[names.DB_BATCH_SIZE] == 6
        assert not {*shown} & {
            names.VECTOR_SCORE_TOP,
            names.VECTOR_SCORE_DIRECTION,
            names.VECTOR_METRIC_TYPE,
            names.VECTOR_FIELD,
            names.VECTOR_RANKER,
            names.VECTOR_DIMENSION,
            names.RETRIEVAL_TOP_K,
        }
        events = [attributes(event) for event in span.events]
        of_scale = {
            (
                event.get(names.VECTOR_FIELD),
                event.get(names.VECTOR_METRIC_TYPE),
                event.get(names.VECTOR_RANKER),
                event[names.VECTOR_SCORE_DIRECTION],
            ): event[names.VECTOR_SCORE_TOP]
            for event in events
        }
        assert of_scale == {
            ("title", "Dot", None, "higher_is_better"): pytest.approx((tops[0] + tops[1]) / 2),
            ("body", "Euclid", None, "lower_is_better"): pytest.approx(tops[2]),
            ("words", "Dot", None, "higher_is_better"): pytest.approx(tops[3]),
            (None, None, "rrf", "higher_is_better"): pytest.approx(tops[4]),
        }
        series = {
            (point.attributes.get(names.VECTOR_FIELD), point.attributes.get(names.VECTOR_RANKER)): (
                point.count,
                point.sum,
            )
            for point in recording.points(names.VECTOR_TOP_SCORE)
        }
        assert series == {
            ("title", None): (2, pytest.approx(tops[0] + tops[1])),
            ("body", None): (1, pytest.approx(tops[2])),
            ("words", None): (1, pytest.approx(tops[3])),
            (None, "rrf"): (1, pytest.approx(tops[4])),
        }

    @pytest.mark.parametrize("vectors", [["title", "words"], ["title", "body"]])
    def test_of_two_fields_never_mix_though_nothing_is_known_of_them(
        self, client: QdrantClient, vectors: list[str]
    ) -> None:
        """A hybrid search of LlamaIndex, in a collection that another process made."""
        recording = Recording()
        qdrant.uninstrument()
        qdrant.instrument(recording.tracer_provider, recording.meter_provider, Settings())
        requests = [
            models.QueryRequest(query=SPARSE if name == "words" else [1.0, 0.5], using=name)
            for name in vectors
        ]

        client.query_batch_points("docs", requests)

        counts = {
            point.attributes[names.VECTOR_FIELD]: point.count
            for point in recording.points(names.VECTOR_TOP_SCORE)
        }
        assert counts == dict.fromkeys(vectors, 1)

    def test_after_the_first_page_have_no_scores(
        self, client: QdrantClient, recording: Recording
    ) -> None:
        """The first hit of the second page is not the best."""
        client.query_points("docs", query=[1.0, 0.5], using="title", limit=2, offset=2)

        shown = recording.attributes("query_points docs")
        assert shown[names.DB_RETURNED_ROWS] == 2
        assert names.VECTOR_SCORE_TOP not in shown
        assert recording.points(names.VECTOR_TOP_SCORE) == []

    def test_say_the_default_limit(self, client: QdrantClient, recording: Recording) -> None:
        """Also if it is given as None, and numbers of numpy as plain ones."""
        limits: list[Any] = [{}, {"limit": None}, {"limit": np.int64(5)}]
        shown = []
        for limit in limits:
            recording.forget()
            with suppress(Exception):
                client.query_points("docs", query=np.array([1.0, 0.5]), using="title", **limit)
            shown.append(recording.attributes("query_points docs")[names.RETRIEVAL_TOP_K])

        assert shown == [10, 10, 5]
        assert [type(limit) for limit in shown] == [int, int, int]

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

    @pytest.mark.parametrize(
        ("vectors", "ids", "records"),
        [
            ({"title": np.ones((4, 2)), "body": np.ones((4, 2))}, None, 4),
            ([{"title": [1.0, 0.5]}], [7], 1),
            ({"title": np.ones((4, 2)), "body": np.ones((4, 2))}, iter(range(4)), 4),
        ],
    )
    def test_that_upload_columns_count_their_rows(
        self, client: QdrantClient, recording: Recording, vectors: Any, ids: Any, records: int
    ) -> None:
        """Arrays, lists, and vectors by name, with ids or without."""
        client.upload_collection("docs", vectors, ids=ids)

        shown = recording.attributes("upload_collection docs")
        assert shown[names.VECTOR_RECORDS] == records

    def test_that_update_in_batches_count_what_they_store(
        self, client: QdrantClient, recording: Recording
    ) -> None:
        """Upserts of a list and of columns; other updates store no record."""
        columns = models.Batch(ids=[60, 61], vectors={"title": [[1.0, 0.5]] * 2})
        client.batch_update_points(
            "docs",
            [
                models.UpsertOperation(upsert=models.PointsList(points=[point(50)])),
                models.UpsertOperation(upsert=models.PointsBatch(batch=columns)),
                models.DeleteOperation(delete=models.PointIdsList(points=[9, 10])),
            ],
        )

        shown = recording.attributes("batch_update_points docs")
        assert shown[names.VECTOR_RECORDS] == 3
        assert shown[names.DB_BATCH_SIZE] == 3

    @pytest.mark.parametrize("kind", [StrEnum, _TextEnum, Enum])
    def test_name_their_collection_as_the_app_means_it(
        self, client: QdrantClient, recording: Recording, kind: Any
    ) -> None:
        """The value of an Enum, and not its name."""
        collection = kind("Collection", {"DOCS": "docs"}).DOCS

        with suppress(Exception):
            client.count(collection)

        shown = recording.attributes("count docs")
        assert shown[names.DB_COLLECTION] == "docs"
        assert type(shown[names.DB_COLLECTION]) is str

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
