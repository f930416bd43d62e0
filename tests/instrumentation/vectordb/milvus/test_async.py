"""Async and deferred calls of Milvus, against a real Milvus Lite."""

from __future__ import annotations

import asyncio
import json
from contextvars import copy_context

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from pymilvus import (
    AnnSearchRequest,
    AsyncMilvusClient,
    Collection,
    MilvusClient,
    MilvusException,
    RRFRanker,
    connections,
)

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from support.recording import attributes
from support.vectordb.milvus_lite import DIMENSION, Observe, vector

# The ORM goes on working until pymilvus 3.1, and so do these tests of it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


def address(client: MilvusClient) -> str:
    return str(client._get_connection().server_address)


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
