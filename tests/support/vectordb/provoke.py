"""Makes a client fail in many ways, with secrets of many types, and prints what the spans tell.

Started with the Python of an environment that has the client:
`python -m support.vectordb.provoke CLIENT [--address ADDRESS] [--grpc-port PORT]` prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import sidelight.instrumentation
from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from support.recording import Recording
from support.vectordb.secret_values import (
    DIMENSION,
    TEXT,
    WORDS,
    JaneDoeError,
    raising,
    secrets,
)

Call = Callable[[Any], Any]


def chroma(options: argparse.Namespace) -> dict[str, Call]:
    """Calls of a Chroma collection that take a value."""
    import chromadb

    client: Any = chromadb.EphemeralClient()
    if options.address:
        host, _, port = options.address.rpartition(":")
        client = chromadb.HttpClient(host=host, port=int(port))
    docs: Any = client.create_collection("docs", embedding_function=_Embedding())
    good = [[0.5] * DIMENSION]
    docs.add(ids=["a"], embeddings=good)
    return {
        "add ids": lambda value: docs.add(ids=value, embeddings=good),
        "add an id": lambda value: docs.add(ids=[value], embeddings=good),
        "add twice": lambda value: docs.add(ids=[value, value], embeddings=good * 2),
        "add embeddings": lambda value: docs.add(ids=["b"], embeddings=value),
        "add an embedding": lambda value: docs.add(ids=["b"], embeddings=[value]),
        "add documents": lambda value: docs.add(ids=["b"], embeddings=good, documents=value),
        "add a document": lambda value: docs.add(ids=["b"], embeddings=good, documents=[value]),
        "add metadatas": lambda value: docs.add(ids=["b"], embeddings=good, metadatas=value),
        "add a metadata": lambda value: docs.add(ids=["b"], embeddings=good, metadatas=[value]),
        "add a value": lambda value: docs.add(
            ids=["b"], embeddings=good, metadatas=[{"key": value}]
        ),
        "add a key": lambda value: docs.add(
            ids=["b"], embeddings=good, metadatas=[{_key(value): 1}]
        ),
        "upsert a document": lambda value: docs.upsert(ids=["b"], documents=[value]),
        "update a value": lambda value: docs.update(ids=["a"], metadatas=[{"key": value}]),
        "query embeddings": lambda value: docs.query(query_embeddings=value),
        "query texts": lambda value: docs.query(query_texts=value),
        "query where": lambda value: docs.query(query_embeddings=good, where=value),
        "query where a value": lambda value: docs.query(
            query_embeddings=good, where={"key": value}
        ),
        "query where an operator": lambda value: docs.query(
            query_embeddings=good, where={"key": {_key(value): 1}}
        ),
        "query where an operand": lambda value: docs.query(
            query_embeddings=good, where={"key": {"$gt": value}}
        ),
        "query where one of": lambda value: docs.query(
            query_embeddings=good, where={"key": {"$in": [value, 1]}}
        ),
        "query where document": lambda value: docs.query(
            query_embeddings=good, where_document=value
        ),
        "query where document has": lambda value: docs.query(
            query_embeddings=good, where_document={"$contains": value}
        ),
        "query n_results": lambda value: docs.query(query_embeddings=good, n_results=value),
        "query include": lambda value: docs.query(query_embeddings=good, include=value),
        "get ids": lambda value: docs.get(ids=value),
        "get limit": lambda value: docs.get(limit=value),
        "get offset": lambda value: docs.get(offset=value),
        "delete ids": lambda value: docs.delete(ids=value),
        "delete where": lambda value: docs.delete(where=value),
        "peek": lambda value: docs.peek(value),
        "modify": lambda value: docs.modify(metadata=value),
        "unknown argument": lambda value: docs.add(**{_key(value): 1}),
        "create": lambda value: client.create_collection("other", metadata=value),
    }


class _Embedding:
    """An embedding function of the app, which fails with what it was given."""

    def __call__(self, input: Any) -> Any:
        try:
            raise JaneDoeError(f"cannot embed {input} of {TEXT}")
        except JaneDoeError as error:
            raise RuntimeError(TEXT) from error

    def name(self) -> str:
        return "failing"

    def get_config(self) -> dict[str, Any]:
        return {}


def qdrant(options: argparse.Namespace) -> dict[str, Call]:
    """Calls of a Qdrant client in local mode that take a value."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    if options.address:
        client = QdrantClient(
            options.address,
            grpc_port=options.grpc_port,
            prefer_grpc=options.grpc_port > 0,
            check_compatibility=False,
        )
    config = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("docs", vectors_config=config)
    client.create_collection("named", vectors_config={"title": config})
    good = [0.5] * DIMENSION
    make = models.PointStruct
    return {
        "upsert": lambda value: client.upsert("docs", points=value),
        "upsert one": lambda value: client.upsert("docs", points=[value]),
        "upsert an id": lambda value: client.upsert(
            "docs", points=[make.model_construct(id=value, vector=good, payload={})]
        ),
        "upsert a vector": lambda value: client.upsert(
            "docs", points=[make.model_construct(id=1, vector=value, payload={})]
        ),
        "upsert a payload": lambda value: client.upsert(
            "docs", points=[make.model_construct(id=1, vector=good, payload=value)]
        ),
        "upsert a field": lambda value: client.upsert(
            "docs", points=[make.model_construct(id=1, vector=good, payload={"key": value})]
        ),
        "upsert a name": lambda value: client.upsert(
            "named", points=[make.model_construct(id=1, vector={_key(value): good}, payload={})]
        ),
        "upload": lambda value: client.upload_points("docs", points=value),
        "upload what fails": lambda _value: client.upload_points("docs", points=raising()),
        "query": lambda value: client.query_points("docs", query=value),
        "query named": lambda value: client.query_points("named", query=value, using="title"),
        "query using": lambda value: client.query_points("named", query=value),
        "query filter": lambda value: client.query_points("docs", query=good, query_filter=value),
        "query a match": lambda value: client.query_points(
            "docs",
            query=good,
            query_filter=models.Filter(
                must=[models.FieldCondition(key="key", match=models.MatchValue(value=value))]
            ),
        ),
        "query limit": lambda value: client.query_points("docs", query=good, limit=value),
        "query offset": lambda value: client.query_points("docs", query=good, offset=value),
        "query payload": lambda value: client.query_points("docs", query=good, with_payload=value),
        "query vectors": lambda value: client.query_points("docs", query=good, with_vectors=value),
        "query prefetch": lambda value: client.query_points("docs", query=good, prefetch=value),
        "query params": lambda value: client.query_points("docs", query=good, search_params=value),
        "batch": lambda value: client.query_batch_points("docs", requests=[value]),
        "retrieve": lambda value: client.retrieve("docs", ids=value),
        "retrieve one": lambda value: client.retrieve("docs", ids=[value]),
        "scroll": lambda value: client.scroll("docs", scroll_filter=value),
        "scroll offset": lambda value: client.scroll("docs", offset=value),
        "count": lambda value: client.count("docs", count_filter=value),
        "delete": lambda value: client.delete("docs", points_selector=value),
        "delete one": lambda value: client.delete("docs", points_selector=[value]),
        "set payload": lambda value: client.set_payload("docs", payload=value, points=[1]),
        "delete payload": lambda value: client.delete_payload("docs", keys=value, points=[1]),
        "delete vectors": lambda value: client.delete_vectors("docs", vectors=value, points=[1]),
        "update vectors": lambda value: client.update_vectors("docs", points=[value]),
        "facet": lambda value: client.facet("docs", key="key", facet_filter=value),
        "unknown argument": lambda value: call_with(client.scroll, _key(value)),
    }


def milvus(options: argparse.Namespace) -> dict[str, Call]:
    """Calls of a Milvus client that take a value."""
    from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker

    # pymilvus waits between up to 75 retries, minutes in all.
    patient: Any = import_module("pymilvus.decorators")
    patient.time = SimpleNamespace(**{**vars(time), "sleep": lambda _seconds: None})
    client: Any = MilvusClient(options.address)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=64)
    schema.add_field("price", DataType.DOUBLE)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", metric_type="COSINE", index_type="FLAT")
    client.create_collection("docs", schema=schema, index_params=indexes)
    good = [0.5] * DIMENSION
    row = {"id": 1, "title": "a", "price": 0.5, "vector": good}
    client.insert("docs", [row])
    return {
        "insert": lambda value: client.insert("docs", value),
        "insert one": lambda value: client.insert("docs", [value]),
        "insert an id": lambda value: client.insert("docs", [{**row, "id": value}]),
        "insert a title": lambda value: client.insert("docs", [{**row, "title": value}]),
        "insert a price": lambda value: client.insert("docs", [{**row, "price": value}]),
        "insert a vector": lambda value: client.insert("docs", [{**row, "vector": value}]),
        "insert a key": lambda value: client.insert("docs", [{**row, _key(value): value}]),
        "upsert": lambda value: client.upsert("docs", [{**row, "title": value}]),
        "search": lambda value: client.search("docs", data=value),
        "search one": lambda value: client.search("docs", data=[value]),
        "search filter": lambda value: client.search("docs", data=[good], filter=value),
        "search a value": lambda value: client.search(
            "docs", data=[good], filter=f"price == {value!r}"
        ),
        "search without quotes": lambda value: client.search(
            "docs", data=[good], filter=f"title == {value}"
        ),
        "search parameters of a filter": lambda value: client.search(
            "docs", data=[good], filter="title in {names}", filter_params={"names": value}
        ),
        "search limit": lambda value: client.search("docs", data=[good], limit=value),
        "search params": lambda value: client.search("docs", data=[good], search_params=value),
        "search a breadth": lambda value: client.search(
            "docs", data=[good], search_params={"params": {"ef": value, "radius": value}}
        ),
        "hybrid search": lambda value: client.hybrid_search(
            "docs", [AnnSearchRequest([good], "vector", {}, 3, expr=f"{value} == 1")], RRFRanker()
        ),
        "query": lambda value: client.query("docs", filter=f"{value} > 3"),
        "query ids": lambda value: client.query("docs", ids=value),
        "get": lambda value: client.get("docs", ids=value),
        "delete": lambda value: client.delete("docs", ids=value),
        "delete by filter": lambda value: client.delete("docs", filter=f"title = '{value}'"),
        "iterator": lambda value: client.query_iterator("docs", filter=f"title = '{value}'"),
        "search iterator": lambda value: client.search_iterator("docs", data=value),
        "create": lambda value: client.create_collection("other", schema=value),
        "create index": lambda value: client.create_index("docs", index_params=value),
    }


def call_with(method: Callable[..., Any], argument: str) -> Any:
    """Calls a method with an argument that it does not know."""
    return method("docs", **{argument: 1})


def _key(value: Any) -> str:
    """A name that an app made of a value."""
    return value if isinstance(value, str) else f"{TEXT}"


# A number that is given for one of these is one, and stands on the span.
LIMITS = {"query limit", "search limit", "search a breadth", "query n_results"}


NUMBERS = {"integer", "negative", "float", "numpy integer", "numpy float"}


CLIENTS: dict[str, Callable[[argparse.Namespace], dict[str, Call]]] = {
    "chroma": chroma,
    "milvus": milvus,
    "qdrant": qdrant,
}


@dataclass(frozen=True)
class Provoked:
    """What was found: calls that told a secret, and all messages that were kept."""

    failed: int
    told: tuple[tuple[str, str, str], ...]
    messages: tuple[str, ...]
    metrics_tell: bool
    faults: int

    @classmethod
    def from_json(cls, text: str) -> Provoked:
        """What this program printed."""
        fields = json.loads(text)
        fields["told"] = tuple(map(tuple, fields["told"]))
        fields["messages"] = tuple(fields["messages"])
        return cls(**fields)


def told(span: Any) -> Iterable[str]:
    """What a span tells, without ids and times, in which digits occur by chance."""
    yield span.name
    yield str(span.status.description)
    yield str(dict(span.attributes or {}))
    for event in span.events:
        yield str(dict(event.attributes or {}))


def main() -> None:
    """Provokes one client in this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--address", default="")
    parser.add_argument("--grpc-port", type=int, default=0)
    options = parser.parse_args()
    recording = Recording()
    sidelight.instrumentation.instrument(
        recording.tracer_provider, recording.meter_provider, Settings()
    )
    found: list[tuple[str, str, str]] = []
    messages: set[str] = set()
    failed = 0
    calls = CLIENTS[options.client](options)
    for kind, value in secrets().items():
        for called, call in calls.items():
            recording.forget()
            try:
                call(value)
            except Exception:
                failed += 1
            is_limit = called in LIMITS and kind in NUMBERS
            for span in () if is_limit else recording.spans():
                if not span.status.is_ok and span.status.description:
                    messages.add(span.status.description)
                found += [
                    (kind, called, text)
                    for text in told(span)
                    if any(word in text for word in WORDS)
                ]
    labels = str([dict(point.attributes) for point in recording.points(names.DB_CLIENT_DURATION)])
    faults = sum(point.value for point in recording.points(names.INSTRUMENTATION_FAULTS))
    provoked = Provoked(
        failed,
        tuple(found),
        tuple(sorted(messages)),
        any(word in labels for word in WORDS),
        faults,
    )
    sys.stdout.write(json.dumps(asdict(provoked)))


if __name__ == "__main__":
    main()
