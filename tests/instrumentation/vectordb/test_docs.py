"""The programs on the pages of vector databases run as they are."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.labels import MAX_MEASURED_COLLECTIONS
from sidelight.instrumentation.vectordb.registry import DATABASES
from support import paths
from support.vectordb.servers import python_of

ROOT = paths.ROOT
PAGE = (paths.DOCS / "vector-databases.md").read_text()


def page(client: str) -> str:
    """The page of a database."""
    return (paths.DOCS / "databases" / f"{client}.md").read_text()


def program(client: str) -> str:
    """The program for a client, copied from its page."""
    (code,) = re.findall(rf"```python\n# try-{client}\.py\n(.*?)```", page(client), re.DOTALL)
    return str(code)


@pytest.mark.parametrize(
    ("client", "environment", "span"),
    [
        ("milvus", "tests", "search docs"),
        ("qdrant", "tests", "query_points docs"),
        pytest.param("chroma", "chroma", "query docs", marks=pytest.mark.real("chroma")),
    ],
)
def test_a_reader_can_paste_and_run_it(
    client: str, environment: str, span: str, tmp_path: Path
) -> None:
    """Each program ends well and prints its search with the query, the document and the score."""
    path = tmp_path / f"try-{client}.py"
    path.write_text(program(client))

    done = subprocess.run(
        [python_of(environment), path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "instrumentation")},
    )

    assert done.returncode == 0, done.stderr
    assert f'"name": "{span}"' in done.stdout
    assert "a chunk about queues" in done.stdout
    assert '"why is it slow?"' in done.stdout
    assert f'"{names.VECTOR_SCORE_TOP}": ' in done.stdout


def test_programs_are_short() -> None:
    """A program is at most sixteen lines long."""
    for database in DATABASES:
        lines = [line for line in program(database.name).splitlines() if line.strip()]
        assert len(lines) <= 16, database.name


def test_the_pages_name_only_what_exists() -> None:
    """Every attribute and metric on the pages is defined, and every metric of ours is there."""
    pages = [PAGE, *(page(database.name) for database in DATABASES)]
    written = set(re.findall(r"`((?:db|gen_ai|sidelight)\.[a-z_.]+[a-z])`", "\n".join(pages)))

    assert written <= {*names.ATTRIBUTES, *names.METRICS}
    assert {name for name in names.METRICS if name.startswith("db.")} <= written


def test_the_bounds_are_as_described() -> None:
    """Collections with series of their own."""
    assert f"first {MAX_MEASURED_COLLECTIONS} collections" in PAGE
