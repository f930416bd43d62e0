"""What a database's error message repeats of the call is cut out where text may not leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from pymilvus import AnnSearchRequest, MilvusClient, RRFRanker
from qdrant_client import QdrantClient, models

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from sidelight.instrumentation.vectordb.core.redaction import NOT_CAPTURED, redacted
from support.recording import Recording
from support.vectordb.milvus_lite import Observe, vector

SECRET = "Jane Doe 4711"
CUT = NOT_CAPTURED


@pytest.mark.parametrize(
    ("text", "arguments", "left"),
    [
        # As Milvus Lite, Milvus 2.3.5, Qdrant and Chroma say it.
        (
            f"unexpected token '==' at column 8\n  name ==== '{SECRET}'\n   ^^\nexpected literal",
            {"expression": f"name ==== '{SECRET}'"},
            f"unexpected token '==' at column 8\n  {CUT}\n   ^^\nexpected literal",
        ),
        (
            "list elements must be literals, got 'Jane' at column 8",
            {"expression": f"id in [{SECRET}]"},
            f"list elements must be literals, got '{CUT}' at column 8",
        ),
        (
            "cannot parse: line 1:7 mismatched input 'Jane'",
            {"reqs": [AnnSearchRequest([[0.1]], "vector", {}, 3, expr="Jane === 1")]},
            f"cannot parse: line 1:7 mismatched input '{CUT}'",
        ),
        ("Point id 4711 is not found", {"points": [4711]}, f"Point id {CUT} is not found"),
        ("salary 61234.5 is no key", {"where": {"salary": 61234.5}}, f"{CUT} is no key"),
        ("got 2024-01-02 00:00:00", {"filter": {"on": datetime(2024, 1, 2)}}, f"got {CUT}"),
        ("got 2024-01-02T00:00:00", {"filter": {"on": datetime(2024, 1, 2)}}, f"got {CUT}"),
        (
            "no points 98765, alice",
            {"ids": np.array(["98765", "alice"])},
            f"no points {CUT}, {CUT}",
        ),
        ("no point 98765", {"ids": np.array([98765])}, f"no point {CUT}"),
        ("0.25 is no vector", {"query": np.array([0.25])}, "0.25 is no vector"),
        ("0.25 is no vector", {"query": [0.25]}, "0.25 is no vector"),
        ("no such thing", {"query": object()}, "no such thing"),
        ("expected dim: 8, got 1", {"points": [8, 1]}, "expected dim: 8, got 1"),
        (
            f"Expected where to have one operator, got {{'a': '{SECRET}', 'b': 1}}",
            {"where": {"a": SECRET, "b": 1}},
            f"Expected where to have one operator, got {{'a': '{CUT}', 'b': 1}}",
        ),
        (
            'got ["it\'s \\n hers"] in add',
            {"documents": ["it's \n hers"]},
            f'got ["{CUT}"] in add',
        ),
        (
            "could not index: the patient Jane Doe came twi…",
            {"documents": ["On Monday the patient Jane Doe came twice."]},
            f"could not index: {CUT}…",
        ),
        (
            f"bad payload {SECRET}",
            {"points": [models.PointStruct(id=1, vector=[0.1], payload={"a": [{"b": SECRET}]})]},
            f"bad payload {CUT}",
        ),
        ("no collection docs", {"collection_name": "docs", "ids": ["docs"]}, "no collection docs"),
        ("no vector title", {"using": "title"}, "no vector title"),
        ("or in the catalogue", {"filter": "a in b or c"}, "or in the catalogue"),
    ],
)
def test_what_was_given_is_cut_out(text: str, arguments: dict[str, Any], left: str) -> None:
    """Filters, ids, conditions and documents go, what was wrong with them stays."""
    assert redacted(text, arguments) == left


@pytest.mark.parametrize(
    "given",
    [["x y"] * 30_000, [["x" * 600_000, "y" * 600_000]], {"a": {"b": [[[[[[[]]]]]]]}}],
    ids=["many", "long", "no more than nested"],
)
def test_a_message_is_kept_only_if_all_that_was_given_is_looked_through(given: Any) -> None:
    """Bounds on the work fail closed: past them nothing of the message is kept."""
    deep: Any = given
    for _ in range(20 if isinstance(given, dict) else 0):
        deep = [deep]

    assert redacted("dimension 3", {"documents": deep}) == NOT_CAPTURED


def test_a_bulk_write_of_usual_size_keeps_its_message() -> None:
    """A thousand chunks with vectors are looked through, so that the reason can be read."""
    rows = [{"id": i, "vector": [0.5] * 384, "text": f"chunk {i} " * 20} for i in range(1_000)]

    assert redacted("expected dim 8, got 384", {"entities": rows}) == "expected dim 8, got 384"


def leaks(recording: Recording) -> list[str]:
    """Names of the spans that hold a word of the secret, wherever in them."""
    return [span.name for span in recording.spans() if _holds(span)]


def _holds(span: ReadableSpan) -> bool:
    # Not ids and times, in which the digits stand by chance.
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    shown = str((span.name, dict(span.attributes or {}), span.status.description, events))
    return any(word in shown for word in SECRET.split())


def _milvus_failures(lite: Any) -> list[tuple[Any, ...]]:
    wrong = f"name ==== '{SECRET}'"
    branch = AnnSearchRequest([vector(1)], "vector", {}, 3, expr=wrong)
    return [
        (lite.search, "docs", [vector(1)], wrong),
        (lite.query, "docs", f"id == '{SECRET}'"),
        (lite.delete, "docs", [SECRET]),
        (lite.insert, "docs", [{"id": SECRET, "vector": vector(1)}]),
        (lite.hybrid_search, "docs", [branch], RRFRanker()),
        (lite.query_iterator, "docs", 10, -1, wrong),
    ]


def test_errors_of_milvus_hold_no_content(lite: MilvusClient, observe: Observe) -> None:
    """Status text, message and stack trace, of searches, writes, iterators and branches alike."""
    recording = observe(Settings(capture_content="ids"))
    failed = 0

    for method, *arguments in _milvus_failures(lite):
        try:
            method(*arguments)
        except Exception:
            failed += 1

    errors = [span for span in recording.spans() if not span.status.is_ok]
    assert len(errors) == failed >= 5
    assert leaks(recording) == []
    assert all(span.status.description for span in errors)


def test_errors_of_qdrant_hold_no_content() -> None:
    """Ids that a message names leave the process only where text may."""
    settings = Settings(capture_content="off")
    shown: list[bool] = []
    for policy in (settings, replace(settings, capture_content="full")):
        recording = Recording()
        qdrant.instrument(recording.tracer_provider, recording.meter_provider, policy)
        client = QdrantClient(":memory:")
        config = models.VectorParams(size=2, distance=models.Distance.DOT)
        client.create_collection("docs", config)
        point = models.PointStruct(id=SECRET, vector=[1.0, 0.0], payload={"text": SECRET})
        with pytest.raises(ValueError, match=SECRET):
            client.upsert("docs", [point])
        with pytest.raises(ValueError, match=SECRET):
            client.query_points("docs", query=SECRET)
        qdrant.uninstrument()
        shown += [_holds(span) for span in recording.spans() if not span.status.is_ok]
        recording.close()

    assert shown == [False, False, True, True]
