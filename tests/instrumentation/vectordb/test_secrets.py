"""Real clients are made to fail with secrets of many types: no span and no metric tells one."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import DataType, MilvusClient
from qdrant_client import QdrantClient, models

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from support.recording import Recording, attributes
from support.vectordb import provoke, secret_values, servers
from support.vectordb.milvus_lite import DIMENSION, Observe, vector
from support.vectordb.servers import Serving

REAL = pytest.mark.real("chroma", "chroma-1.0", "milvus-2.5", "qdrant-1.13")


@REAL
@pytest.mark.parametrize(
    ("client", "environment", "serving", "known"),
    [
        ("milvus", "tests", servers.milvus_lite_file, "vector field 'vector' expected dim 3, got"),
        ("milvus", "milvus-2.5", servers.milvus_lite_file, "{title} field should be a varchar"),
        ("qdrant", "tests", servers.nowhere, "expected dim: 3, got 1 for vector ''"),
        ("qdrant", "tests", servers.qdrant_rest, "expected dim: 3, got 1 for vector ''"),
        ("qdrant", "tests", servers.qdrant_grpc, "expected dim: 3, got 1 for vector ''"),
        ("qdrant", "qdrant-1.13", servers.nowhere, "Unsupported selector type: <class 'dict'>"),
        ("chroma", "chroma", servers.nowhere, "Collection expecting embedding with dimension of 3"),
        ("chroma", "chroma", servers.chroma, "Collection expecting embedding with dimension of 3"),
        ("chroma", "chroma-1.0", servers.nowhere, "got <not captured> which is a dict"),
    ],
)
def test_no_error_tells_what_a_call_was_given(
    client: str, environment: str, serving: Serving, known: str, tmp_path: Path
) -> None:
    """Names, texts, events, stack traces and labels; the client's own words are kept."""
    with serving(tmp_path) as server:
        provoked = servers.provoke(client, server, environment=environment)

    assert provoked.told == ()
    assert not provoked.metrics_tell
    assert provoked.failed > 500
    assert any(known in message for message in provoked.messages), provoked.messages


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Milvus Lite with a collection that has no fields but those of its schema."""
    client: Any = MilvusClient(str(tmp_path_factory.mktemp("strict") / "lite.db"))
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("source", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", metric_type="COSINE", index_type="FLAT")
    client.create_collection("strict", schema=schema, index_params=indexes)
    yield client
    client.close()


class TestNames:
    """Of fields and operators, which tell what was wrong."""

    @pytest.mark.parametrize(
        ("filter_", "said"),
        [
            ("source == 5", "left side is string (field 'source'), right side is int"),
            ("source ==== 'Jane Doe'", "unexpected token '=='"),
            ("array_length(source) == 1", "array_length requires an array or dynamic value"),
            ("sourc == 'Jane Doe'", "available fields: ['id', 'source', 'vector']"),
            ("sourc == 'Jane Doe'", "did you mean 'source'?"),
            ("source == Jane", "unknown field <not captured>"),
        ],
    )
    def test_of_a_milvus_filter(
        self, strict: Any, observe: Observe, filter_: str, said: str
    ) -> None:
        """The value that was compared is cut, the rest of the message stays."""
        recording = observe()
        with pytest.raises(Exception, match="column"):
            strict.search("strict", data=[vector(1)], filter=filter_)

        description = recording.span("search strict").status.description or ""
        assert said in description
        assert "Jane" not in description

    def test_of_a_milvus_row(self, strict: Any, observe: Observe) -> None:
        """Fields of the schema and types."""
        recording = observe()
        with pytest.raises(Exception, match="inconsistent"):
            strict.insert("strict", [{"id": 1, "vector": vector(1), "source": 47110815}])

        description = recording.span("insert strict").status.description or ""
        assert (
            "{source} field should be a varchar, but got a {<class 'int'>} instead" in description
        )


@pytest.fixture
def qdrant_docs() -> Iterator[tuple[QdrantClient, Recording]]:
    """A Qdrant in local mode with a collection, and what is recorded of it."""
    recording = Recording()
    qdrant.instrument(recording.tracer_provider, recording.meter_provider, Settings())
    client = QdrantClient(":memory:")
    config = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("docs", config)
    yield client, recording
    qdrant.uninstrument()
    recording.close()


def test_an_exception_of_the_app_is_told_by_its_base(qdrant_docs: Any) -> None:
    """Neither its name, its notes and attributes nor what it came from are on span and metric."""
    client, recording = qdrant_docs
    error = secret_values.JaneDoeError(secret_values.TEXT)
    error.code = secret_values.NUMBER  # type: ignore[attr-defined]
    error.add_note(secret_values.TEXT)

    def points() -> Any:
        yield from ()
        raise error from KeyError(secret_values.TEXT)

    with pytest.raises(secret_values.JaneDoeError):
        client.upload_points("docs", points())

    span = recording.span("upload_points docs")
    assert attributes(span)[names.ERROR_TYPE] == "ValueError"
    assert names.DB_STATUS_CODE not in attributes(span)
    assert not [text for text in provoke.told(span) if "Jane" in text or "4711" in text]
    (point,) = [
        point
        for point in recording.points(names.DB_CLIENT_DURATION)
        if names.ERROR_TYPE in point.attributes
    ]
    assert point.attributes[names.ERROR_TYPE] == "ValueError"


def test_what_a_failed_write_costs_does_not_grow_with_it(
    qdrant_docs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many functions are called for a thousand points as for two."""
    client, _ = qdrant_docs
    calls: list[int] = []
    failed = CallObserver.failed

    def counted(*args: Any) -> None:
        number = 0

        def count(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal number
            number += event in ("call", "c_call")

        # A collection of garbage calls functions as well.
        gc.disable()
        sys.setprofile(count)
        try:
            failed(*args)
        finally:
            sys.setprofile(None)
            gc.enable()
        calls.append(number)

    monkeypatch.setattr(CallObserver, "failed", counted)
    for size in (2, 2, 1_000):
        points = [
            models.PointStruct(id=number, vector=[0.5], payload={"text": "a chunk " * 50})
            for number in range(size)
        ]
        with pytest.raises(ValueError, match="dim"):
            client.upsert("docs", points)

    assert calls[2] < 1.1 * calls[1]


VALUES = st.recursive(
    st.text(min_size=1) | st.integers() | st.floats() | st.binary(min_size=1) | st.dates(),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1),
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=VALUES)
def test_no_value_of_any_form_is_told(
    qdrant_docs: tuple[QdrantClient, Recording], value: Any
) -> None:
    """Beside a mark that no template, type or name has."""
    client, recording = qdrant_docs
    recording.forget()
    marked: Any = [f"@{secret_values.NUMBER}@", value]
    point = models.PointStruct.model_construct
    for call in (
        lambda: client.upsert("docs", [point(id=marked, vector=[0.5, 0.5], payload={})]),
        lambda: client.upsert("docs", [point(id=str(marked), vector=[0.5, 0.5], payload={})]),
        lambda: client.upsert("docs", [point(id=1, vector=marked, payload={})]),
        lambda: client.query_points("docs", query=str(marked)),
        lambda: client.scroll("docs", scroll_filter=marked),
        lambda: client.delete("docs", marked),
    ):
        with contextlib.suppress(Exception):
            call()

    shown = [text for span in recording.spans() for text in provoke.told(span)]
    assert not [text for text in shown if str(secret_values.NUMBER) in text]
