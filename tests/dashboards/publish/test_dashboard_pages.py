"""docs/dashboards is what the boards and the catalog say."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS
from sidelight.dashboards.publish import dashboard_pages
from support.paths import DOCS

PAGES = {path.name: path.read_text() for path in (DOCS / "dashboards").glob("*.md")}


def test_the_committed_pages_are_what_the_code_generates() -> None:
    """`make dashboards` writes them."""
    assert dashboard_pages.fill(PAGES) == PAGES


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
class TestBoard:
    def test_every_panel_is_on_its_page(self, board: Board) -> None:
        """With its metrics and who measures them."""
        page = PAGES[dashboard_pages.board_page(board)]
        for row in board.rows:
            for panel in row.panels:
                [line] = re.findall(rf"^\| {re.escape(panel.title)} \|.*", page, re.MULTILINE)
                *_, sources, metrics = line.strip("| ").split(" | ")
                assert sources
                assert metrics.startswith("`")

    def test_the_index_leads_to_it(self, board: Board) -> None:
        """By the question that it answers."""
        assert board.question.endswith("?")
        assert f"({dashboard_pages.board_page(board)}) | {board.question} |" in PAGES["index.md"]

    def test_both_pictures_are_shown(self, board: Board) -> None:
        """The one that fits the colours of the site."""
        page = PAGES[dashboard_pages.board_page(board)]
        for theme in ("dark", "light"):
            assert f"{board.uid}-{theme}.png#only-{theme})" in page


@pytest.mark.parametrize(
    "reader", ["With Grafana's Helm chart", "With plain Prometheus and Grafana"]
)
def test_each_reader_finds_three_commands(reader: str) -> None:
    """In one block under a heading."""
    section = PAGES["index.md"].partition(f"\n## {reader}\n")[2].partition("\n## ")[0]
    [commands] = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    assert len(commands.splitlines()) == 3


def test_the_versions_are_those_of_the_catalog() -> None:
    """The sentence on the page names every recorded release."""
    *most, last = RECORDED_VERSIONS
    assert f"vLLM {', '.join(most)} and {last} export" in PAGES["checking.md"]


def test_the_example_prints_promql_without_grafana() -> None:
    """It runs as it stands there."""
    [example] = re.findall(r"```python\n(.*?)```", PAGES["extending.md"], re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, {})
    assert "$" not in printed.getvalue()
    assert "vllm:num_preemptions_total" in printed.getvalue()
    assert 'job="vllm",model_name=~"llama-.*"' in printed.getvalue()


def test_a_page_without_a_mark_is_an_error() -> None:
    """Instead of a page that silently stays as it was."""
    reading = PAGES["reading.md"].replace("<!-- variables -->", "")
    with pytest.raises(ValueError, match="the page lacks <!-- variables -->"):
        dashboard_pages.fill(PAGES | {"reading.md": reading})


def test_a_page_of_no_board_is_an_error() -> None:
    """It is what a renamed board leaves behind."""
    with pytest.raises(ValueError, match=r"no dashboard has the page old\.md"):
        dashboard_pages.fill(PAGES | {"old.md": "# Old\n"})
