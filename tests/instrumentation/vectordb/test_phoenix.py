"""The retriever view of a real Phoenix, queried back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from pymilvus import MilvusClient
from qdrant_client import QdrantClient, models

import sidelight.instrumentation
from sidelight import conventions as names
from sidelight.demo.phoenix_query import PhoenixReader, SeenSpan
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import query_text
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.recording import Recording
from support.vectordb.milvus_lite import vector
from support.waiting import eventually

pytestmark = pytest.mark.real("phoenix")


@pytest.fixture
def observed(guarded_phoenix: GuardedPhoenix) -> Iterator[Recording]:
    """Every client observed, with text, its spans sent to Phoenix."""
    recording = Recording()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    exporter = OTLPSpanExporter(f"{guarded_phoenix.url}/v1/traces", headers=headers)
    recording.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    sidelight.instrumentation.instrument(
        recording.tracer_provider,
        recording.meter_provider,
        Settings(capture_content="truncated"),
    )
    yield recording
    sidelight.instrumentation.uninstrument()
    recording.close()


def stored(phoenix: GuardedPhoenix, recording: Recording, name: str) -> SeenSpan:
    """The one span called `name`, once Phoenix has stored it."""
    context = recording.span(name).get_span_context()
    assert context is not None
    reader = PhoenixReader(phoenix.url, API_KEY)
    span_id = f"{context.span_id:016x}"
    found: list[SeenSpan] = eventually(
        lambda: [s for s in reader.trace(f"{context.trace_id:032x}") if s.span_id == span_id],
        f"{name} in Phoenix",
    )
    return found[0]


def shown(span: SeenSpan) -> list[tuple[str, float | None, str]]:
    """Id, score and text of each document that Phoenix has understood."""
    return [
        (
            document["document"]["id"],
            document["document"].get("score"),
            document["document"].get("content", ""),
        )
        for document in span.get("retrieval.documents") or []
    ]


def test_shows_ids_scores_and_texts(
    guarded_phoenix: GuardedPhoenix, observed: Recording, lite: MilvusClient
) -> None:
    """A search is a RETRIEVER with its query and its documents, each with id, score and text."""
    with query_text("which chunk?"):
        hits = lite.search("docs", [vector(3)], limit=3, output_fields=["text", "source"])[0]

    span = stored(guarded_phoenix, observed, "search docs")

    assert span.kind == "RETRIEVER"
    assert span.documents == 3
    assert span.get(names.INPUT_VALUE) == "which chunk?"
    found = shown(span)
    assert [each[0] for each in found] == [str(hit["id"]) for hit in hits]
    assert [each[1] for each in found] == pytest.approx([hit["distance"] for hit in hits])
    assert [each[2] for each in found] == [hit["entity"]["text"] for hit in hits]


def test_shows_documents_that_have_no_score(
    guarded_phoenix: GuardedPhoenix, observed: Recording
) -> None:
    """Points in no order of score are shown all the same; Phoenix drops a list without numbers."""
    client = QdrantClient(":memory:")
    client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
    point = models.PointStruct(id=7, vector=[1.0, 0.0], payload={"text": "a sampled chunk"})
    client.upsert("docs", [point])
    client.query_points("docs", models.SampleQuery(sample=models.Sample.RANDOM))

    span = stored(guarded_phoenix, observed, "query_points docs")

    assert span.documents == 1
    assert [(found[0], found[2]) for found in shown(span)] == [("7", "a sampled chunk")]
    assert span.get(names.VECTOR_SCORE_TOP) is None


def test_shows_a_failure(
    guarded_phoenix: GuardedPhoenix, observed: Recording, lite: MilvusClient
) -> None:
    """A refused search is an error with the database's message."""
    with pytest.raises(Exception, match="missing"):
        lite.search("missing", [vector(3)])

    span = stored(guarded_phoenix, observed, "search missing")

    assert span.failed
    assert span.get(names.DB_STATUS_CODE) == "100"
