"""Searches of Milvus as spans and metrics, against a real Milvus Lite."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from pymilvus import (
    AnnSearchRequest,
    DataType,
    MilvusClient,
    RRFRanker,
    WeightedRanker,
)

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import milvus, query_text
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from support.recording import Recording, attributes
from support.vectordb.milvus_lite import DIMENSION, Observe, vector

# The ORM goes on working until pymilvus 3.1, and so do these tests of it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


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
        scores = [hit["distance"] for hit in hits]
        assert span.kind is SpanKind.CLIENT
        assert span.name == "search docs"
        assert attributes(span) == {
            names.DB_SYSTEM: "milvus",
            names.DB_OPERATION: "search",
            names.DB_COLLECTION: "docs",
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


def test_a_span_that_is_sampled_out_costs_no_json(
    lite: MilvusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents are read for spans that somebody gets to see; metrics have every call."""
    recording = Recording()
    dropping = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    read: list[bool] = []
    monkeypatch.setattr(DatabaseCall, "set_hits", lambda *_: read.append(True))

    milvus.instrument(dropping, recording.meter_provider, Settings(capture_content="full"))
    try:
        hits = lite.search("docs", data=[vector(1)], limit=3)
    finally:
        milvus.uninstrument()

    assert len(hits[0]) == 3
    assert read == []
    (point,) = recording.points(names.DB_CLIENT_RETURNED_ROWS)
    assert (point.count, point.sum) == (1, 3)


def test_dense_sparse_and_fused_scores_never_mix(lite: MilvusClient, observe: Observe) -> None:
    """Each field has a series of its own, though the metric types are the same or not known."""
    schema = lite.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIMENSION)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    indexes = lite.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="IP")
    indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    lite.create_collection("both", schema=schema, index_params=indexes)
    words = {1: 12.0, 7: 9.0}
    lite.insert("both", [{"id": i, "dense": vector(i), "sparse": words} for i in range(4)])
    branches = [
        AnnSearchRequest([vector(1)], "dense", {}, 3),
        AnnSearchRequest([words], "sparse", {}, 3),
    ]
    recording = observe()

    lite.search("both", [vector(1)], anns_field="dense", limit=3)
    lite.search("both", [words], anns_field="sparse", limit=3)
    lite.search("both", [vector(1)], anns_field="dense", limit=2, search_params={"offset": 1})
    lite.hybrid_search("both", branches, RRFRanker(), limit=3)
    lite.drop_collection("both")

    series = {
        (point.attributes[names.VECTOR_FIELD], point.attributes.get(names.VECTOR_RANKER)): (
            point.count
        )
        for point in recording.points(names.VECTOR_TOP_SCORE)
    }
    assert series == {("dense", None): 1, ("sparse", None): 1, ("dense,sparse", "rrf"): 1}
    hybrid = recording.attributes("hybrid_search both")
    assert names.VECTOR_DIMENSION not in hybrid
    assert hybrid[names.VECTOR_QUERY_COUNT] == 1
    _, _, page = recording.spans("search both")
    assert attributes(page)[names.DB_RETURNED_ROWS] == 2
    assert names.VECTOR_SCORE_TOP not in attributes(page)
