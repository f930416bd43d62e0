"""docs/runbooks has a page for each alert, and says what the code says."""

from __future__ import annotations

import re

import pytest

from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.publish import runbooks
from support.paths import DOCS

PAGES = {path.name: path.read_text() for path in (DOCS / "runbooks").glob("*.md")}
ALERTS = {alert.runbook: alert for alert in runbooks.alerts()}
PANELS = {panel.title for board in BOARDS for row in board.rows for panel in row.panels}


def test_the_committed_pages_are_what_the_code_generates() -> None:
    """`make dashboards` fills them in; an alert without a page, or a page without one, fails."""
    assert runbooks.fill(PAGES) == PAGES


def test_an_alert_without_a_page_is_named() -> None:
    """And a page whose alert is gone."""
    pages = {name: text for name, text in PAGES.items() if name != "engine-stalled.md"}
    with pytest.raises(ValueError, match=r"differ in engine-stalled\.md, old\.md"):
        runbooks.fill(pages | {"old.md": ""})


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_says_what_to_look_at_and_to_do(name: str) -> None:
    """Under the alert's name, with panels that exist."""
    text = PAGES[f"{name}.md"]
    assert text.startswith(f"# {ALERTS[name].name}\n")
    for heading in ("What it means", "What to look at", "What to do"):
        assert f"\n## {heading}\n" in text
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*", text))
    assert named - {"Targets"} <= PANELS


def test_templates_are_shown_as_what_they_hold() -> None:
    """A reader of the page sees no Go template."""
    assert runbooks.plain('{{ printf "%.0f" $value }} of {{ $labels.instance }}') == (
        "[value] of [instance]"
    )
    assert all("{{" not in text for text in PAGES.values())
