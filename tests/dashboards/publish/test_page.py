"""docs/dashboards.md is what the boards and the catalog say."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS
from sidelight.dashboards.publish import page
from support.paths import DOCS

PAGE = (DOCS / "dashboards.md").read_text()


def test_the_committed_tables_are_what_the_code_generates() -> None:
    """`make dashboards` writes them."""
    assert page.fill(PAGE) == PAGE


def test_every_panel_is_on_the_page() -> None:
    """With its metrics and who measures them."""
    for board in BOARDS:
        for row in board.rows:
            for panel in row.panels:
                [line] = re.findall(rf"^\| {re.escape(panel.title)} \|.*", PAGE, re.MULTILINE)
                *_, sources, metrics = line.strip("| ").split(" | ")
                assert sources
                assert metrics.startswith("`")


def test_the_versions_are_those_of_the_catalog() -> None:
    """The sentence on the page names every recorded release."""
    *most, last = RECORDED_VERSIONS
    assert f"vLLM {', '.join(most)} and {last} export" in PAGE


def test_the_example_prints_promql_without_grafana() -> None:
    """It runs as it stands there."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, {})
    assert "$" not in printed.getvalue()
    assert "vllm:num_preemptions_total" in printed.getvalue()
    assert 'job="vllm",model_name=~"llama-.*"' in printed.getvalue()


def test_a_page_without_a_mark_is_an_error() -> None:
    """Instead of a page that silently stays as it was."""
    with pytest.raises(ValueError, match="the page lacks <!-- variables -->"):
        page.fill(PAGE.replace("<!-- variables -->", ""))
