"""Calls inside calls, and calls that nobody wants spans of."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openinference.instrumentation import suppress_tracing
from opentelemetry import context as contexts
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from pymilvus import MilvusClient, MilvusException
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import milvus, qdrant
from support.recording import Recording, attributes
from support.vectordb.milvus_lite import vector

POINT = models.PointStruct(id=1, vector=[1.0, 0.0])


def filled() -> QdrantClient:
    """A Qdrant in local mode with an empty collection, made before it is observed."""
    client = QdrantClient(":memory:")
    config = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("docs", config)
    client.create_collection("cache", config)
    return client


@pytest.fixture
def recording() -> Iterator[Recording]:
    """What is recorded of Qdrant and Milvus."""
    recording = Recording()
    for library in (qdrant, milvus):
        library.instrument(recording.tracer_provider, recording.meter_provider, Settings())
    yield recording
    for library in (qdrant, milvus):
        library.uninstrument()
    recording.close()


def tree(recording: Recording) -> dict[str, str | None]:
    """The name of each span's parent, by its own name."""
    spans = recording.spans()
    by_id = {span.get_span_context().span_id: span.name for span in spans}  # type: ignore[union-attr]
    return {span.name: span.parent and by_id.get(span.parent.span_id) for span in spans}


class TestCallsInsideCalls:
    """Of an app's functions that a client calls: here the generator of an upload."""

    def test_to_another_database_are_calls_of_their_own(
        self, lite: MilvusClient, recording: Recording
    ) -> None:
        """A semantic cache in Milvus, asked while points go to Qdrant."""

        def points() -> Iterator[models.PointStruct]:
            lite.search("docs", data=[vector(1)])
            yield POINT

        filled().upload_points("docs", points())

        found = tree(recording)
        assert found["search docs"] == "upload_points docs"
        assert attributes(recording.span("search docs"))[names.SPAN_KIND] == "RETRIEVER"

    @pytest.mark.parametrize("is_same", [True, False])
    def test_of_the_app_are_calls_of_their_own(self, recording: Recording, is_same: bool) -> None:
        """Whether they use the same client or another one."""
        client = filled()
        cache = client if is_same else filled()

        def points() -> Iterator[models.PointStruct]:
            cache.query_points("cache", query=[1.0, 0.0])
            yield POINT

        client.upload_points("docs", points())

        assert tree(recording)["query_points cache"] == "upload_points docs"

    def test_of_the_client_are_part_of_its_call(
        self, lite: MilvusClient, recording: Recording
    ) -> None:
        """An insert into Milvus describes the collection first, which fails."""
        with pytest.raises(MilvusException):
            lite.insert("missing", [{"id": 1, "vector": vector(1)}])

        assert [span.name for span in recording.spans()] == ["insert missing"]

    async def test_of_an_async_client(self, recording: Recording) -> None:
        """Awaited in a task of its own, from a function of the app."""
        client = AsyncQdrantClient(":memory:")
        config = models.VectorParams(size=2, distance=models.Distance.DOT)
        await client.create_collection("docs", config)
        other = filled()

        class Points(list[Any]):
            def __iter__(self) -> Iterator[Any]:
                other.count("cache")
                return super().__iter__()

        await client.upsert("docs", Points([POINT]))

        assert tree(recording)["count cache"] == "upsert docs"

    @pytest.mark.parametrize("carries", ["nothing", "contextvars", "OpenTelemetry's context"])
    def test_in_threads_of_the_app(self, recording: Recording, carries: str) -> None:
        """With or without the context of the call."""
        client = filled()

        def points() -> Iterator[models.PointStruct]:
            context, variables = contexts.get_current(), contextvars.copy_context()

            def attached() -> None:
                contexts.attach(context)
                client.count("cache")

            work = {
                "nothing": lambda: client.count("cache"),
                "contextvars": lambda: variables.run(client.count, "cache"),
                "OpenTelemetry's context": attached,
            }[carries]
            with ThreadPoolExecutor(1) as pool:
                pool.submit(work).result()
            yield POINT

        client.upload_points("docs", points())

        parent = None if carries == "nothing" else "upload_points docs"
        assert tree(recording)["count cache"] == parent

    @pytest.mark.alone
    def test_in_a_forked_child(self, recording: Recording) -> None:
        """A child that is forked inside a call makes calls of its own."""
        client = filled()
        recording.forget()

        def points() -> Iterator[models.PointStruct]:
            child = os.fork()
            if child == 0:
                client.count("cache")
                os._exit(0 if [span.name for span in recording.spans()] == ["count cache"] else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            yield POINT

        client.upload_points("docs", points())

    def test_after_the_call(self, recording: Recording) -> None:
        """A context that outlives the call it was taken in covers nothing."""
        client = filled()
        taken: list[contextvars.Context] = []

        def points() -> Iterator[models.PointStruct]:
            taken.append(contextvars.copy_context())
            yield POINT

        client.upload_points("docs", points())
        taken[0].run(client.count, "cache")

        assert tree(recording)["count cache"] == "upload_points docs"


class TestSuppression:
    @pytest.mark.parametrize("suppressed", [suppress_instrumentation, suppress_tracing])
    def test_leaves_no_trace(
        self, lite: MilvusClient, recording: Recording, suppressed: Any
    ) -> None:
        """Neither spans nor metrics, of calls that succeed and of those that fail."""
        client = filled()
        recording.forget()
        before = len(recording.points(names.DB_CLIENT_DURATION))
        with suppressed():
            client.count("docs")
            lite.search("docs", data=[vector(1)])
            with pytest.raises(ValueError, match="not found"):
                client.count("missing")

        assert recording.spans() == []
        assert len(recording.points(names.DB_CLIENT_DURATION)) == before

    def test_of_the_old_key_alone(self, recording: Recording) -> None:
        """Exporters and frameworks of before 2022 set a plain name."""
        client = filled()
        recording.forget()
        token = contexts.attach(contexts.set_value("suppress_instrumentation", True))
        client.count("docs")
        contexts.detach(token)

        assert recording.spans() == []

    @pytest.mark.parametrize("processor", [BatchSpanProcessor, SimpleSpanProcessor])
    def test_lets_an_exporter_write_to_the_database(self, processor: Any) -> None:
        """An exporter that stores spans in a vector database does not export its own writes."""
        client = filled()
        exported = threading.Semaphore(0)
        batches: list[list[str]] = []

        class Storing(SpanExporter):
            def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
                batches.append([span.name for span in spans])
                client.upsert("docs", [POINT])
                exported.release()
                return SpanExportResult.SUCCESS

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor(Storing()))
        qdrant.instrument(provider, settings=Settings())
        try:
            client.count("cache")
            provider.force_flush()
            assert exported.acquire(timeout=30)
            provider.force_flush()
        finally:
            qdrant.uninstrument()
            provider.shutdown()

        assert batches == [["count cache"]]
