"""Milvus calls as spans and metrics, against a real Milvus Lite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from pymilvus import (
    AnnSearchRequest,
    AsyncMilvusClient,
    Collection,
    MilvusClient,
    MilvusException,
    RRFRanker,
    WeightedRanker,
    connections,
)
from pymilvus.client.grpc_handler import GrpcHandler

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import milvus, query_text
from sidelight.instrumentation.vectordb.core.call import Call
from support.recording import Recording, attributes
from support.vectordb.milvus_lite import DIMENSION, Observe, vector

# The ORM goes on working until pymilvus 3.1, and so do these tests of it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


def address(client: MilvusClient) -> str:
    return str(client._get_connection().server_address)


class TestSearch:
    def test_says_what_was_asked_and_how_good_the_answer_was(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """One search is one CLIENT span with the call's parameters, rows and scores."""
        recording = observe()

        hits = lite.search(
            "docs",
            data=[vector(3)],
            limit=5,
            filter="id > 1",
            search_params={"metric_type": "COSINE", "params": {"ef": 32}},
            consistency_level="Strong",
        )[0]

        (span,) = recording.spans()
        host, _, port = address(lite).rpartition(":")
        scores = [hit["distance"] for hit in hits]
        assert span.kind is SpanKind.CLIENT
        assert span.name == "search docs"
        assert attributes(span) == {
            names.DB_SYSTEM: "milvus",
            names.DB_OPERATION: "search",
            names.DB_COLLECTION: "docs",
            names.SERVER_ADDRESS: host,
            names.SERVER_PORT: int(port),
            names.SPAN_KIND: "RETRIEVER",
            names.OPERATION: "retrieval",
            names.RETRIEVAL_TOP_K: 5,
            names.VECTOR_QUERY_COUNT: 1,
            names.VECTOR_DIMENSION: DIMENSION,
            names.VECTOR_EF: 32,
            names.VECTOR_METRIC_TYPE: "COSINE",
            names.MILVUS_CONSISTENCY: "Strong",
            names.DB_RETURNED_ROWS: len(hits),
            names.VECTOR_EMPTY: False,
            names.VECTOR_SCORE_TOP: scores[0],
            names.VECTOR_SCORE_LAST: scores[-1],
            names.VECTOR_SCORE_MEAN: pytest.approx(sum(scores) / len(scores)),
            names.VECTOR_SCORE_GAP: pytest.approx(scores[0] - scores[1]),
            names.VECTOR_SCORE_DIRECTION: "higher_is_better",
        }

    def test_knows_the_metric_and_field_from_the_creation_of_the_index(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """What `create_index` was told describes later searches, without another request."""
        recording = observe()
        lite.create_collection("l2", dimension=DIMENSION, metric_type="L2")
        lite.insert("l2", [{"id": i, "vector": vector(i)} for i in range(5)])

        lite.search("l2", data=[vector(1)], limit=3)
        lite.drop_collection("l2")

        found = recording.attributes("search l2")
        assert found[names.VECTOR_METRIC_TYPE] == "L2"
        assert found[names.VECTOR_FIELD] == "vector"
        assert found[names.VECTOR_INDEX_TYPE] == "AUTOINDEX"
        assert found[names.VECTOR_SCORE_DIRECTION] == "lower_is_better"

    def test_counts_a_batch_of_queries(self, lite: MilvusClient, observe: Observe) -> None:
        """A call with several vectors is one span; each query counts in the score metric."""
        recording = observe()

        lite.search("docs", data=[vector(1), vector(2), vector(3)], limit=2)

        found = recording.attributes("search docs")
        assert found[names.VECTOR_QUERY_COUNT] == 3
        assert found[names.DB_BATCH_SIZE] == 3
        assert found[names.DB_RETURNED_ROWS] == 6
        assert found[names.VECTOR_EMPTY_QUERIES] == 0
        assert [point.count for point in recording.points(names.VECTOR_TOP_SCORE)] == [3]

    def test_counts_the_empty_queries_of_a_batch(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """How many queries of a call found nothing stands on its span."""
        recording = observe()

        lite.search("docs", data=[vector(1), vector(2)], limit=2, filter="id > 1000")

        assert recording.attributes("search docs")[names.VECTOR_EMPTY_QUERIES] == 2

    def test_shows_an_empty_result(self, lite: MilvusClient, observe: Observe) -> None:
        """A search without a hit is no error; it is marked and counted as empty."""
        recording = observe()

        lite.search("docs", data=[vector(1)], limit=2, filter="id > 1000")

        span = recording.span("search docs")
        found = attributes(span)
        assert found[names.VECTOR_EMPTY] is True
        assert found[names.DB_RETURNED_ROWS] == 0
        assert names.VECTOR_SCORE_TOP not in found
        assert span.status.status_code is StatusCode.UNSET
        assert [point.value for point in recording.points(names.VECTOR_EMPTY_SEARCHES)] == [1]

    def test_never_decodes_what_the_app_has_not_asked_for(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """Vectors and JSON of the hits stay undecoded, also when documents are captured."""
        observe(Settings(capture_content="full"))

        result = lite.search("docs", data=[vector(1)], limit=2, output_fields=["text", "vector"])

        hits = list.__getitem__(result, 0)
        assert hits.lazy_field_data
        assert hits.has_materialized is False
        assert "vector" not in dict(hits.get_raw_item(0))["entity"]
        assert hits[0]["entity"]["text"].startswith("chunk")

    def test_is_not_a_second_retriever(self, lite: MilvusClient, observe: Observe) -> None:
        """Below a framework's RETRIEVER span ours is a CHAIN and repeats no documents."""
        recording = observe(Settings(capture_content="full"))
        tracer = recording.tracer_provider.get_tracer("langchain")

        with tracer.start_as_current_span("retrieve", attributes={names.SPAN_KIND: "RETRIEVER"}):
            lite.search("docs", data=[vector(1)], limit=2, output_fields=["text"])

        span = recording.span("search docs")
        found = attributes(span)
        assert found[names.SPAN_KIND] == "CHAIN"
        assert names.OPERATION not in found
        assert names.RETRIEVAL_DOCUMENTS not in found
        assert found[names.DB_RETURNED_ROWS] == 2
        assert span.parent == recording.span("retrieve").context


class TestHybridSearch:
    @pytest.mark.parametrize(
        ("ranker", "name"), [(RRFRanker(), "rrf"), (WeightedRanker(0.5, 0.5), "weighted")]
    )
    def test_never_mixes_fused_scores_with_similarities(
        self, lite: MilvusClient, observe: Observe, ranker: Any, name: str
    ) -> None:
        """Scores of a ranker and of a metric type are different series of the same metric."""
        recording = observe()
        branches = [AnnSearchRequest([vector(seed)], "vector", {}, 5) for seed in (1, 2)]

        lite.hybrid_search("docs", branches, ranker, limit=3)
        lite.search("docs", data=[vector(1)], search_params={"metric_type": "COSINE"}, limit=3)

        found = recording.attributes("hybrid_search docs")
        assert found[names.VECTOR_RANKER] == name
        assert found[names.VECTOR_BRANCHES] == 2
        assert found[names.DB_RETURNED_ROWS] == 3
        assert names.VECTOR_METRIC_TYPE not in found
        series = {
            (
                point.attributes[names.DB_OPERATION],
                point.attributes.get(names.VECTOR_METRIC_TYPE),
                point.attributes.get(names.VECTOR_RANKER),
            )
            for point in recording.points(names.VECTOR_TOP_SCORE)
        }
        assert series == {("hybrid_search", None, name), ("search", "COSINE", None)}


class TestContent:
    def search(self, lite: MilvusClient) -> None:
        with query_text("what is a chunk?"):
            lite.search(
                "docs",
                data=[vector(3)],
                limit=2,
                filter="source like 'file%'",
                output_fields=["text", "source"],
            )

    def test_stays_in_the_process_by_default(self, lite: MilvusClient, observe: Observe) -> None:
        """With the default policy no id, text, filter or query is on the span."""
        recording = observe()

        self.search(lite)

        shown = json.dumps(recording.attributes("search docs"))
        assert "chunk" not in shown
        assert "file" not in shown
        assert names.RETRIEVAL_DOCUMENTS not in shown

    def test_is_ids_and_scores_if_ids_are_allowed(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """Under `ids` every document has its id and score and nothing else."""
        recording = observe(Settings(capture_content="ids"))

        self.search(lite)

        found = recording.attributes("search docs")
        documents = json.loads(str(found[names.RETRIEVAL_DOCUMENTS]))
        assert [set(document) for document in documents] == [{"id", "score"}] * 2
        assert documents[0]["score"] == pytest.approx(found[names.VECTOR_SCORE_TOP])
        assert names.DB_FILTER not in found
        assert names.INPUT_VALUE not in found

    def test_is_text_and_metadata_if_text_is_allowed(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """Under `truncated` text, metadata, filter and query show in Langfuse and Phoenix."""
        recording = observe(Settings(capture_content="truncated"))

        self.search(lite)

        found = recording.attributes("search docs")
        documents = json.loads(str(found[names.RETRIEVAL_DOCUMENTS]))
        for document in documents:
            assert document["content"] == f"chunk {document['id']}"
            assert document["metadata"] == {"source": f"file-{document['id']}.md"}
        assert found[names.OUTPUT_VALUE] == found[names.RETRIEVAL_DOCUMENTS]
        assert found[names.INPUT_VALUE] == "what is a chunk?"
        assert found[names.RETRIEVAL_QUERY] == "what is a chunk?"
        assert found[names.DB_FILTER] == "source like 'file%'"


class TestOtherOperations:
    def test_have_one_span_each(self, lite: MilvusClient, observe: Observe) -> None:
        """Administration, writes and queries are siblings: one span per logical operation."""
        recording = observe()

        lite.create_collection("other", dimension=DIMENSION, metric_type="IP")
        lite.insert("other", [{"id": i, "vector": vector(i)} for i in range(10)])
        lite.upsert("other", {"id": 3, "vector": vector(4)})
        lite.query("other", filter="id < 4")
        lite.get("other", ids=[1, 2])
        lite.delete("other", ids=[1, 2, 3])
        lite.flush("other")
        lite.release_collection("other")
        lite.drop_collection("other")

        seen = [
            (span.name, attributes(span).get(names.VECTOR_RECORDS)) for span in recording.spans()
        ]
        assert seen == [
            ("create_collection other", None),
            ("create_index other", None),
            ("load_collection other", None),
            ("insert other", 10),
            ("upsert other", 1),
            ("query other", None),
            ("query other", None),
            ("delete other", 3),
            ("flush other", None),
            ("release_collection other", None),
            ("drop_collection other", None),
        ]
        assert [attributes(s)[names.DB_RETURNED_ROWS] for s in recording.spans("query other")] == [
            4,
            2,
        ]
        assert recording.attributes("insert other")[names.DB_BATCH_SIZE] == 10
        assert sum(point.value for point in recording.points(names.VECTOR_RECORDS_WRITTEN)) == 11
        assert sum(point.value for point in recording.points(names.VECTOR_RECORDS_DELETED)) == 3
        assert all(span.parent is None for span in recording.spans())

    def test_are_seen_through_the_orm_too(self, lite: MilvusClient, observe: Observe) -> None:
        """The ORM's searches and column inserts end in the same operations."""
        recording = observe()
        connections.connect("orm", address=address(lite))
        try:
            docs = Collection("docs", using="orm")
            docs.search([vector(1)], "vector", {"metric_type": "COSINE"}, limit=4)
            docs.query("id < 3")
        finally:
            connections.disconnect("orm")

        assert [span.name for span in recording.spans()] == ["search docs", "query docs"]
        assert recording.attributes("search docs")[names.DB_RETURNED_ROWS] == 4

    @pytest.mark.parametrize(
        ("name", "open_iterator", "rows", "pages"),
        [
            (
                "search_iterator docs",
                lambda lite: lite.search_iterator("docs", [vector(1)], batch_size=10, limit=25),
                25,
                3,
            ),
            (
                "query_iterator docs",
                lambda lite: lite.query_iterator("docs", batch_size=20, filter="id < 45"),
                45,
                3,
            ),
        ],
    )
    def test_iterators_are_one_span_with_their_pages_as_events(
        self,
        lite: MilvusClient,
        observe: Observe,
        name: str,
        open_iterator: Callable[[MilvusClient], Any],
        rows: int,
        pages: int,
    ) -> None:
        """An iterator is one span and one entry in the metrics, however many pages it takes."""
        recording = observe()

        iterator = open_iterator(lite)
        fetched = 0
        while page := iterator.next():
            fetched += len(page)
        iterator.close()

        (span,) = recording.spans()
        assert fetched == rows
        assert span.name == name
        assert attributes(span)[names.DB_RETURNED_ROWS] == rows
        assert attributes(span)[names.VECTOR_PAGES] == pages
        assert sum(attributes(event)[names.DB_RETURNED_ROWS] for event in span.events) == rows
        durations = recording.points(names.DB_CLIENT_DURATION)
        assert [point.count for point in durations] == [1]
        assert trace.get_current_span() is trace.INVALID_SPAN

    def test_an_iterator_that_is_dropped_still_ends(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """Leaving an iterator halfway ends its span with the pages it had."""
        recording = observe()

        iterator = lite.query_iterator("docs", batch_size=20)
        iterator.next()
        del iterator

        found = recording.attributes("query_iterator docs")
        assert found[names.DB_RETURNED_ROWS] == 20


class TestAsync:
    async def test_concurrent_searches_are_spans_of_their_own(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """Searches that overlap in one loop keep their own parents, results and durations."""
        recording = observe()
        tracer = recording.tracer_provider.get_tracer("app")
        client = AsyncMilvusClient(uri=f"http://{address(lite)}")

        async def ask(limit: int) -> None:
            with tracer.start_as_current_span(f"ask {limit}"):
                await client.search("docs", data=[vector(limit)], limit=limit)

        await asyncio.gather(*(ask(limit) for limit in range(1, 6)))
        await client.close()

        searches = recording.spans("search docs")
        assert len(searches) == 5
        for span in searches:
            found = attributes(span)
            parent = recording.span(f"ask {found[names.RETRIEVAL_TOP_K]}")
            assert found[names.DB_RETURNED_ROWS] == found[names.RETRIEVAL_TOP_K]
            assert span.parent == parent.context
            assert (parent.end_time or 0) >= (span.end_time or 0) > (span.start_time or 0)

    async def test_a_coroutine_closed_elsewhere_is_a_span_all_the_same(
        self, lite: MilvusClient, observe: Observe, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An abandoned call is closed in another context than it ran in: its span still ends."""
        recording = observe()
        client = AsyncMilvusClient(uri=f"http://{address(lite)}")
        await client.search("docs", data=[vector(1)], limit=1)
        recording.forget()

        abandoned = client.search("docs", data=[vector(1)], limit=2)
        copy_context().run(abandoned.send, None)
        abandoned.close()
        await client.search("docs", data=[vector(1)], limit=3)
        await client.close()

        asked = [attributes(span)[names.RETRIEVAL_TOP_K] for span in recording.spans("search docs")]
        assert asked == [2, 3]
        assert caplog.text == ""

    async def test_writes_and_errors_are_seen(self, lite: MilvusClient, observe: Observe) -> None:
        """The async client's other operations are described as the sync client's are."""
        lite.create_collection("async", dimension=DIMENSION)
        recording = observe()
        client = AsyncMilvusClient(uri=f"http://{address(lite)}")

        await client.insert("async", [{"id": i, "vector": vector(i)} for i in range(4)])
        await client.hybrid_search(
            "async", [AnnSearchRequest([vector(1)], "vector", {}, 3)], RRFRanker(), limit=3
        )
        await client.delete("async", ids=[1])
        await client.drop_collection("async")
        with pytest.raises(MilvusException):
            await client.query("async", filter="id < 3")
        await client.close()

        assert [span.name.split()[0] for span in recording.spans()] == [
            "insert",
            "hybrid_search",
            "delete",
            "drop_collection",
            "query",
        ]
        assert recording.spans()[-1].status.status_code is StatusCode.ERROR

    def test_a_future_ends_its_span_when_it_is_done(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """With `_async=True` the span covers the request, not the call that started it."""
        recording = observe(Settings(capture_content="ids"))
        connections.connect("futures", address=address(lite))
        try:
            docs = Collection("docs", using="futures")
            future = docs.search([vector(1)], "vector", {"metric_type": "COSINE"}, 4, _async=True)
            assert trace.get_current_span() is trace.INVALID_SPAN
            hits = future.result()
            missing = docs.search([[1.0]], "vector", {"metric_type": "COSINE"}, 4, _async=True)
            with pytest.raises(MilvusException):
                missing.result()
        finally:
            connections.disconnect("futures")

        good, bad = recording.spans("search docs")
        found = attributes(good)
        documents = json.loads(str(found[names.RETRIEVAL_DOCUMENTS]))
        assert found[names.DB_RETURNED_ROWS] == 4
        assert [document["id"] for document in documents] == [str(id_) for id_ in hits[0].ids]
        assert found[names.VECTOR_SCORE_TOP] == hits[0].distances[0]
        assert bad.status.status_code is StatusCode.ERROR
        assert bad.status.description
        assert attributes(bad)[names.DB_STATUS_CODE]


class TestErrors:
    def test_tell_what_the_database_said(self, lite: MilvusClient, observe: Observe) -> None:
        """A refused call has status, type, the database's code, its message and the exception."""
        recording = observe()

        with pytest.raises(MilvusException) as raised:
            lite.search("missing", data=[vector(1)])

        span = recording.span("search missing")
        found = attributes(span)
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == raised.value.message
        assert found[names.ERROR_TYPE] == "MilvusException"
        assert found[names.DB_STATUS_CODE] == str(raised.value.code) == "100"
        (event,) = span.events
        assert event.name == "exception"
        assert attributes(event)["exception.message"] == raised.value.message
        (point,) = recording.points(names.DB_CLIENT_DURATION)
        assert point.attributes[names.ERROR_TYPE] == "MilvusException"

    def test_do_not_repeat_the_filter(self, lite: MilvusClient, observe: Observe) -> None:
        """A filter quoted in the message leaves the process only where text may."""
        expression = "patient ==== 'Jane'"
        recording = observe()
        with pytest.raises(MilvusException, match="Jane"):
            lite.search("docs", data=[vector(1)], filter=expression)
        milvus.uninstrument()
        open_recording = observe(Settings(capture_content="full"))
        with pytest.raises(MilvusException):
            lite.search("docs", data=[vector(1)], filter=expression)

        assert "Jane" not in recording.span("search docs").to_json()
        assert "Jane" in open_recording.span("search docs").to_json()

    def test_of_a_server_that_is_not_there_is_a_connect_span(self, observe: Observe) -> None:
        """A client that cannot connect fails before any operation, and still shows up."""
        recording = observe()

        with pytest.raises(MilvusException):
            MilvusClient("http://127.0.0.1:9", timeout=0.5)

        span = recording.span("connect")
        assert attributes(span)[names.SERVER_PORT] == 9
        assert span.status.status_code is StatusCode.ERROR

    def test_of_describe_collection_alone_make_a_span(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """`describe_collection` goes with many calls and is shown only when it fails."""
        recording = observe()

        lite.describe_collection("docs")
        with pytest.raises(MilvusException):
            lite.describe_collection("missing")

        assert [span.name for span in recording.spans()] == ["describe_collection missing"]


def test_uninstrument_restores_every_original() -> None:
    """After `uninstrument` pymilvus has the very functions it had before."""
    from pymilvus.client import async_grpc_handler, grpc_handler
    from pymilvus.client.iterator import QueryIterator, SearchIterator, SearchIteratorV2

    owners = (
        GrpcHandler, async_grpc_handler.AsyncGrpcHandler, grpc_handler, async_grpc_handler,
        QueryIterator, SearchIterator, SearchIteratorV2,
    )  # fmt: skip
    before = [dict(vars(owner)) for owner in owners]

    milvus.instrument()
    during = [dict(vars(owner)) for owner in owners]
    milvus.instrument()
    milvus.uninstrument()

    after = [dict(vars(owner)) for owner in owners]
    for original, changed, restored in zip(before, during, after, strict=True):
        assert any(changed[name] is not original[name] for name in original)
        assert all(restored[name] is original[name] for name in original)


def test_disabled_settings_change_nothing() -> None:
    """`SIDELIGHT_DISABLED` leaves pymilvus alone."""
    before = dict(vars(GrpcHandler))

    milvus.instrument(settings=Settings(disabled=True))

    assert dict(vars(GrpcHandler)) == before


def test_a_span_that_is_sampled_out_costs_no_json(
    lite: MilvusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents are read for spans that somebody gets to see; metrics have every call."""
    recording = Recording()
    dropping = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    read: list[bool] = []
    monkeypatch.setattr(Call, "found", lambda *_: read.append(True))

    milvus.instrument(dropping, recording.meter_provider, Settings(capture_content="full"))
    try:
        hits = lite.search("docs", data=[vector(1)], limit=3)
    finally:
        milvus.uninstrument()

    assert len(hits[0]) == 3
    assert read == []
    (point,) = recording.points(names.DB_CLIENT_RETURNED_ROWS)
    assert (point.count, point.sum) == (1, 3)
