"""The pages are written where they are read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from sidelight.dashboards.publish import pages
from sidelight.dashboards.publish.markdown import replaced
from support.paths import DOCS


def test_what_is_missing_on_a_page_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each folder, and on the page of objectives; the others stay."""
    for folder in ("dashboards", "runbooks"):
        shutil.copytree(DOCS / folder, tmp_path / folder)
    shutil.copy(DOCS / "slo.md", tmp_path)
    for name, part in (
        ("dashboards/reading.md", "variables"),
        ("runbooks/engine-stalled.md", "alert"),
        ("slo.md", "burns"),
    ):
        page = tmp_path / name
        page.write_text(replaced(page.read_text(), part, []))
        assert page.read_text() != (DOCS / name).read_text()
    (tmp_path / "dashboards" / "overview.md").unlink()
    monkeypatch.setattr(sys, "argv", ["pages", str(tmp_path)])
    pages.main()
    for page in tmp_path.rglob("*.md"):
        assert page.read_text() == (DOCS / page.relative_to(tmp_path)).read_text()
    assert (tmp_path / "dashboards" / "overview.md").is_file()
