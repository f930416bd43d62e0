"""What is said of a version of vLLM that the hooks were not compared with."""

from __future__ import annotations

import re

import pytest

from sidelight.instrumentation.vllm.versions import NEWEST, OLDEST, version_warning
from support.paths import DOCS


@pytest.mark.parametrize("version", ["0.13.0", "0.32.0+cpu", "0.33.1.dev12+g1234567"])
def test_known(version: str) -> None:
    """Nothing is said."""
    assert version_warning(version) is None


@pytest.mark.parametrize("version", ["0.12.9", "0.34.0", "1.0", "0.1.dev1+g1", "", None, "x" * 99])
def test_unknown(version: str | None) -> None:
    """One line says so and what to do, and is not long."""
    line = version_warning(version)
    assert line is not None
    assert "is not known" in line
    assert line.endswith("a version of vLLM that it knows.")
    assert len(line) < 300


def test_the_docs_say_the_same() -> None:
    """The page names the oldest and the newest."""
    page = (DOCS / "vllm.md").read_text()
    bounds = re.search(r"compared with the source of ([\d.]+) to ([\d.]+?)\.?\s", page)
    assert bounds is not None
    assert bounds.groups() == tuple(".".join(map(str, bound)) for bound in (OLDEST, NEWEST))
