"""A query counts as one in whatever form it is given, with every client and version."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.vectordb.query_forms import DIMENSION, Form
from support.vectordb.servers import environment_for_clients, python_of

CLIENTS = [
    ("milvus", "tests"),
    ("milvus", "milvus-2.5"),
    ("qdrant", "tests"),
    ("qdrant", "qdrant-1.13"),
    ("chroma", "chroma"),
    ("chroma", "chroma-1.0"),
]
# Forms whose vectors have no dimension that can be told.
WITHOUT_DIMENSION = {"id", "sparse", "sparse dicts", "sparse pairs", "text", "texts"}


@pytest.mark.real("milvus-2.5", "qdrant-1.13", "chroma", "chroma-1.0")
@pytest.mark.parametrize(("database", "environment"), CLIENTS)
def test_queries_are_counted_in_every_form(database: str, environment: str, tmp_path: Path) -> None:
    """As many as the client returned results for, of the dimension that they have."""
    done = subprocess.run(
        [
            python_of(environment), "-m", "support.vectordb.query_forms", database,
            tmp_path / "lite.db",
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment_for_clients(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4_000:]
    printed = json.loads(done.stdout.splitlines()[-1])
    forms = [Form(**form) for form in printed["forms"]]

    assert printed["faults"] == 0
    taken = [form for form in forms if form.queries is not None]
    assert len(taken) >= 10
    assert {form.name for form in taken if form.queries != form.shown} == set()
    for form in taken:
        expected = None if form.name in WITHOUT_DIMENSION else DIMENSION
        assert form.dimension == expected, form
        assert form.batch_size == (form.queries if (form.queries or 0) > 1 else None), form
    # What a client refuses must not look like a search for each number of a vector.
    assert {form.name for form in forms if (form.shown or 1) > 3} == set()
