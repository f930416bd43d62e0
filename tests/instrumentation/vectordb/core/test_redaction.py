"""What a database's error message repeats of the call is cut out where text may not leave."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from pymilvus import AnnSearchRequest
from qdrant_client import models

from sidelight.instrumentation.vectordb.core.redaction import NOT_CAPTURED, redacted
from support.vectordb.leaks import SECRET

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
    client = "pymilvus" if "reqs" in arguments else "qdrant_client"
    assert redacted(text, arguments, client) == left


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

    assert redacted("dimension 3", {"documents": deep}, "chromadb") == NOT_CAPTURED


def test_a_bulk_write_of_usual_size_keeps_its_message() -> None:
    """A thousand chunks with vectors are looked through, so that the reason can be read."""
    rows = [{"id": i, "vector": [0.5] * 384, "text": f"chunk {i} " * 20} for i in range(1_000)]

    assert (
        redacted("expected dim 8, got 384", {"entities": rows}, "pymilvus")
        == "expected dim 8, got 384"
    )
