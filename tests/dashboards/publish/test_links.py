"""Links of panels: to traces, to the board on their topic, and to the runbooks of their alerts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidelight.dashboards.publish.files import render_boards, rule_groups
from sidelight.dashboards.publish.links import Links
from support.paths import DOCS

SITE = "https://docs.test"
ALERTS = {alert.name: alert for group in rule_groups() for alert in group.alerts}


def _links(links: Links | None = None) -> dict[str, list[dict[str, Any]]]:
    """The links of every panel of every board, by the panel's title."""
    found: dict[str, list[dict[str, Any]]] = {}
    for text in render_boards(links).values():
        for panel in json.loads(text)["panels"]:
            if panel["type"] != "row":
                found.setdefault(panel["title"], []).extend(panel["links"])
    return found


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_s_panel_links_to_its_runbook(name: str) -> None:
    """With the address of the docs; the page is there."""
    alert = ALERTS[name]
    urls = [
        link["url"]
        for link in _links(Links(docs=f"{SITE}/"))[alert.panel]
        if link["title"] == f"Runbook: {name}"
    ]
    assert set(urls) == {f"{SITE}/runbooks/{alert.runbook}.html"}
    assert (DOCS / "runbooks" / f"{alert.runbook}.md").is_file()


def test_without_the_docs_no_link_leads_nowhere() -> None:
    """A path of the repository would be one of Grafana's."""
    for links in _links().values():
        assert not [link for link in links if link["title"].startswith("Runbook")]


def test_the_overview_leads_to_the_topics() -> None:
    """For the same time and the same selection."""
    [more] = _links()["Step time"]
    assert more["title"] == "More: Sidelight / Batching"
    assert more["url"] == "/d/sidelight-batching?${__url_time_range}&${__all_variables}"
