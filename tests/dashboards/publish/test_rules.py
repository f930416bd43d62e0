"""Rules as Prometheus and its operator read them, and where their links lead."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight.dashboards.alerts.published import alert_groups
from sidelight.dashboards.publish.links import Links
from sidelight.dashboards.publish.rules import (
    PROMETHEUS_RULE_FILE,
    RULE_FILE,
    rule_document,
)
from sidelight.dashboards.view import View
from support.generated_dashboards import FILES, parsed

RULES = parsed(RULE_FILE)
ALERTS: list[dict[str, Any]] = [
    rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule
]
each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
# Keys of monitoring.coreos.com/v1: the API server drops others without a word.
_GROUP_KEYS = {"name", "rules", "interval"}
_RULE_KEYS = {"alert", "record", "expr", "for", "labels", "annotations"}


@pytest.mark.real("prometheus")
def test_promtool_accepts_the_rule_file(tmp_path: Path) -> None:
    """With its lint on: no rule is there twice."""
    (tmp_path / RULE_FILE).write_text(FILES[RULE_FILE])
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", tmp_path / RULE_FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_prometheus_rule_has_the_same_groups_and_no_other_keys() -> None:
    """A misspelt key would be dropped silently."""
    resource = yaml.safe_load(FILES[PROMETHEUS_RULE_FILE])
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == RULES
    for group in RULES["groups"]:
        assert group.keys() <= _GROUP_KEYS
        for rule in group["rules"]:
            assert rule.keys() <= _RULE_KEYS
            assert "alert" in rule or "record" in rule
            assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0m"))


@each_alert
def test_an_alert_says_what_when_and_where(rule: dict[str, Any]) -> None:
    """A sentence with a number or a label, what to do first, how urgent, and two links."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    texts = rule["annotations"]
    assert "{{" in texts["summary"]
    assert texts["summary"].endswith(".")
    assert texts["description"].endswith(".")
    assert texts["runbook_url"].startswith("docs/runbooks/")


@each_alert
def test_a_link_opens_a_panel_of_a_board(rule: dict[str, Any]) -> None:
    """With the variables set to what the alert is about; both exist."""
    found = re.fullmatch(
        r"/d/(?P<uid>[\w-]+)\?(?P<variables>.*?)&?viewPanel=(?P<panel>\d+)",
        rule["annotations"]["dashboard_url"],
    )
    assert found
    board = json.loads(FILES[f"{found['uid']}.json"])
    assert int(found["panel"]) in {panel["id"] for panel in board["panels"]}
    set_here = set(re.findall(r"var-(\w+)=", found["variables"]))
    assert set_here <= {variable["name"] for variable in board["templating"]["list"]}


def test_addresses_make_the_links_whole() -> None:
    """With or without a slash at their end."""
    document = rule_document(alert_groups(), Links("https://grafana.test/", "https://docs.test"))
    texts = document["groups"][0]["rules"][0]["annotations"]
    assert texts["dashboard_url"].startswith("https://grafana.test/d/sidelight-overview?var-job=")
    assert texts["runbook_url"] == "https://docs.test/runbooks/engine-stalled.html"


def test_a_view_narrows_the_alerts() -> None:
    """Alerts on one job alone read that job's series everywhere."""
    [stalled, *_] = alert_groups(View({"job": "chat"}, "5m"))[0].alerts
    selectors = re.findall(r"\{([^}]*)\}|vllm_\w+(?=\[)", str(stalled.expression))
    assert len(selectors) > 5
    assert all('job="chat"' in selector for selector in selectors)
