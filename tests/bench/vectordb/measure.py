"""Measures one client with one instrumentation, in a process of its own.

The search is the client's own, from its public method down to its transport, which gives a
recorded answer of the real database: 10 hits of 384 dimensions, found with a filter. So the
database's time is taken out and the client's and the instrumentation's are left. Counted is the
CPU time of the calling thread; spans end in a batch processor, as in production.

Prints `{"micros": [...], "spans": n, "attributes": [...]}`: one figure for each batch of searches.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

DIMENSION = 384
RECORDS = 200
HITS = 10
BATCH = 100
BATCHES = 25
WARM_UP = 300

Search = Callable[[], Any]


class Counting(SpanExporter):
    """Counts spans and keeps the last one's attribute names."""

    def __init__(self) -> None:
        self.spans = 0
        self.attributes: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keeps nothing else."""
        self.spans += len(spans)
        self.attributes = sorted(spans[-1].attributes or {})
        return SpanExportResult.SUCCESS


def vector(seed: int) -> list[float]:
    """A vector that differs from its neighbours a little."""
    return [1.0, *(((seed * 7 + place) % 23) / 50 for place in range(DIMENSION - 1))]


def milvus() -> Search:
    """`MilvusClient.search`, with a real answer of Milvus Lite at the gRPC stub."""
    from pymilvus import MilvusClient

    client = MilvusClient(tempfile.mkdtemp() + "/bench.db")
    client.create_collection("docs", DIMENSION, metric_type="COSINE")
    rows = [{"id": i, "vector": vector(i), "text": f"chunk {i}"} for i in range(RECORDS)]
    client.insert("docs", rows)
    stub = client._get_connection()._stub
    real = stub.Search
    answers: list[Any] = []

    def record(*args: Any, **kwargs: Any) -> Any:
        answers.append(real(*args, **kwargs))
        return answers[-1]

    query = [vector(3)]

    def search() -> Any:
        return client.search(
            "docs", query, filter="id > 5", limit=HITS, search_params={"metric_type": "COSINE"}
        )

    stub.Search = record
    search()
    stub.Search = lambda *_args, **_kwargs: answers[0]
    return search


def qdrant() -> Search:
    """`QdrantClient.query_points`, with a real answer of local mode behind it."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    config = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("docs", config)
    client.upsert(
        "docs",
        [
            models.PointStruct(id=i, vector=vector(i), payload={"text": f"chunk {i}", "n": i})
            for i in range(RECORDS)
        ],
    )
    condition = models.FieldCondition(key="n", range=models.Range(gt=5))
    only = models.Filter(must=[condition])
    query = vector(3)
    answer = client._client.query_points("docs", query=query, query_filter=only, limit=HITS)
    client._client.query_points = lambda **_kwargs: answer  # type: ignore[method-assign]
    return lambda: client.query_points("docs", query=query, query_filter=only, limit=HITS)


def chroma() -> Search:
    """`Collection.query`, with a real answer of the embedded database behind it."""
    import chromadb

    docs: Any = chromadb.EphemeralClient().create_collection(
        "docs", configuration={"hnsw": {"space": "cosine"}}
    )
    docs.add(
        ids=[str(i) for i in range(RECORDS)],
        embeddings=[vector(i) for i in range(RECORDS)],
        documents=[f"chunk {i}" for i in range(RECORDS)],
        metadatas=[{"n": i} for i in range(RECORDS)],
    )
    real = docs._client._query
    answers: list[Any] = []

    def recorded(**kwargs: Any) -> Any:
        if not answers:
            answers.append(real(**kwargs))
        return answers[0]

    docs._client._query = recorded
    query = [vector(3)]
    return lambda: docs.query(query_embeddings=query, n_results=HITS, where={"n": {"$gt": 5}})


def spanned(search: Search) -> Search:
    """`search` inside a span written by hand with 19 attributes: what the SDK alone costs."""
    tracer = trace.get_tracer("bench")
    asked: dict[str, Any] = {f"asked.{number}": "a short text" for number in range(7)}
    found: dict[str, Any] = {f"found.{number}": 0.5 for number in range(11)}
    found["found.documents"] = "x" * 330

    def search_in_span() -> Any:
        span = tracer.start_span("search docs", kind=trace.SpanKind.CLIENT, attributes=asked)
        token = context.attach(trace.set_span_in_context(span))
        result = search()
        span.set_attributes(found)
        span.end()
        context.detach(token)
        return result

    return search_in_span


def instrument(name: str, database: str) -> None:
    """Switches one instrumentation on, without content; ours with ids and scores."""
    if name == "sidelight":
        from sidelight.instrumentation import instrument as observe
        from sidelight.instrumentation.settings import Settings

        observe(settings=Settings(capture_content="ids"))
    elif name == "openllmetry":
        module = "chromadb" if database == "chroma" else database
        _instrumentor(f"opentelemetry.instrumentation.{module}", database).instrument()
    elif name == "openlit":
        openlit: Any = import_module("openlit")

        # It takes the providers that are set, and prices from a file instead of its website.
        prices = Path(tempfile.mkdtemp()) / "prices.json"
        prices.write_text("{}")
        openlit.init(capture_message_content=False, disable_events=True, pricing_json=str(prices))


def _instrumentor(module: str, database: str) -> Any:
    return getattr(import_module(module), f"{database.capitalize()}Instrumentor")()


def main() -> None:
    """`measure.py DATABASE INSTRUMENTATION`: `none` is the client alone, `span` a bare span."""
    database, name = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    exporter = Counting()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=65_536))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    search = {"milvus": milvus, "qdrant": qdrant, "chroma": chroma}[database]()
    if name == "span":
        search = spanned(search)
    instrument(name, database)
    for _ in range(WARM_UP):
        search()
    gc.collect()
    micros = []
    for _ in range(BATCHES):
        started = time.thread_time_ns()
        for _ in range(BATCH):
            search()
        micros.append((time.thread_time_ns() - started) / 1_000 / BATCH)
    provider.force_flush()
    json.dump(
        {"micros": micros, "spans": exporter.spans, "attributes": exporter.attributes}, sys.stdout
    )


if __name__ == "__main__":
    main()
