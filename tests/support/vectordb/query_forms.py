"""Searches with queries in every form that a client takes, and what is seen of each.

Started with the Python of an environment that has the client:
`python -m support.vectordb.query_forms DATABASE FILE` prints JSON. FILE is Milvus Lite's.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import sidelight.instrumentation
from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from support.recording import Recording, attributes

DIMENSION = 16
VECTOR = [0.25] * DIMENSION
Search = Callable[[Any], int]
"""Searches for what it is given; how many queries the client returned results for."""


@dataclass(frozen=True)
class Form:
    """One form of a query: what the client made of it, and what the span says."""

    name: str
    # None if the client refused it.
    queries: int | None
    shown: int | None
    dimension: int | None
    batch_size: int | None


def dense() -> Mapping[str, Any]:
    """One and several dense vectors."""
    kinds = ("float16", "float32", "float64", "int32", "int64")
    forms: dict[str, Any] = {
        "list": VECTOR,
        "tuple": tuple(VECTOR),
        "list of lists": [VECTOR, VECTOR],
        "list of tuples": [tuple(VECTOR), tuple(VECTOR)],
        "tuple of lists": (VECTOR, VECTOR),
        "list of one": [VECTOR],
        "array.array": array("f", VECTOR),
        "list of array.arrays": [array("f", VECTOR)] * 2,
        "list of numpy's numbers": list(np.array(VECTOR)),
    }
    for kind in kinds:
        row = np.ones(DIMENSION, kind)
        forms[f"numpy 1-D {kind}"] = row
        forms[f"numpy 2-D {kind}"] = np.stack([row] * 3)
        forms[f"numpy 2-D of one {kind}"] = row[None]
        forms[f"list of numpy {kind}"] = [row, row]
    return forms


def main() -> None:
    """Searches in every form."""
    database, file = sys.argv[1:]
    recording = Recording()
    sidelight.instrumentation.instrument(
        recording.tracer_provider, recording.meter_provider, Settings()
    )
    searches = {"milvus": _milvus, "qdrant": _qdrant, "chroma": _chroma}[database](file)
    seen = []
    for name, (search, query) in searches.items():
        recording.forget()
        try:
            queries = search(query)
        except Exception:  # the client's own
            queries = None
        # A client may refuse a form before the call is one.
        for span in recording.spans()[-1:]:
            shown = attributes(span)
            seen.append(
                Form(
                    name,
                    queries,
                    shown.get(names.VECTOR_QUERY_COUNT),
                    shown.get(names.VECTOR_DIMENSION),
                    shown.get(names.DB_BATCH_SIZE),
                )
            )
    faults = sum(point.value for point in recording.points(names.INSTRUMENTATION_FAULTS))
    sys.stdout.write(json.dumps({"forms": [asdict(form) for form in seen], "faults": faults}))


def _chroma(_file: str) -> Mapping[str, tuple[Search, Any]]:
    import chromadb

    def embed(texts: Any) -> Any:
        return [np.array(VECTOR, "float32") for _ in texts]

    class Embedder(chromadb.EmbeddingFunction):  # type: ignore[misc]
        def __init__(self) -> None:
            """It has no settings."""

        def __call__(self, input: Any) -> Any:
            return embed(input)

    docs = chromadb.EphemeralClient().create_collection("docs", embedding_function=Embedder())
    docs.add(ids=["1", "2"], embeddings=[VECTOR, VECTOR], documents=["a", "b"])

    def vectors(query: Any) -> int:
        return len(docs.query(query_embeddings=query, n_results=1)["ids"])

    def texts(query: Any) -> int:
        return len(docs.query(query_texts=query, n_results=1)["ids"])

    return {name: (vectors, query) for name, query in dense().items()} | {
        "text": (texts, "why?"),
        "texts": (texts, ["why?", "how?"]),
    }


def _qdrant(_file: str) -> Mapping[str, tuple[Search, Any]]:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    parameters = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        "docs",
        {
            "one": parameters,
            "many": models.VectorParams(
                size=DIMENSION, distance=models.Distance.COSINE, multivector_config=several
            ),
        },
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    sparse = models.SparseVector(indices=[1, 2, 3], values=[0.5, 0.5, 0.5])
    vectors = {"one": VECTOR, "many": [VECTOR, VECTOR], "sparse": sparse}
    points = [models.PointStruct(id=number, vector=vectors) for number in (1, 2)]
    client.upsert("docs", points)

    def using(name: str) -> Search:
        def search(query: Any) -> int:
            client.query_points("docs", query=query, using=name, limit=1)
            return 1

        return search

    searches = {
        name: (using("many" if np.ndim(query) == 2 else "one"), query)
        for name, query in dense().items()
    }
    return searches | {
        "id": (using("one"), 1),
        "nearest": (using("one"), models.NearestQuery(nearest=VECTOR)),
        "sparse": (using("sparse"), sparse),
    }


def _milvus(file: str) -> Mapping[str, tuple[Search, Any]]:
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(file)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIMENSION)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    indexes = client.prepare_index_params()
    for name, kind, metric in (
        ("dense", "FLAT", "COSINE"),
        ("sparse", "SPARSE_INVERTED_INDEX", "IP"),
    ):
        indexes.add_index(name, index_type=kind, metric_type=metric)
    client.create_collection("docs", schema=schema, index_params=indexes)
    sparse = {1: 0.5, 7: 0.25, 9: 0.5}
    client.insert("docs", [{"id": key, "dense": VECTOR, "sparse": sparse} for key in (1, 2)])

    def within(field: str) -> Search:
        return lambda query: len(client.search("docs", data=query, anns_field=field, limit=1))

    pairs = list(sparse.items())
    return {name: (within("dense"), query) for name, query in dense().items()} | {
        "sparse dicts": (within("sparse"), [sparse, sparse]),
        "sparse pairs": (within("sparse"), [pairs, pairs]),
    }


if __name__ == "__main__":
    main()
