"""Files for Grafana's provisioning folder and for the sidecar of its chart.

No registry has a Grafana server; these are the rules of its documentation.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.publish.files import rule_groups
from support.generated_dashboards import FILES, parsed

ALERTS: dict[str, Any] = parsed("grafana-alerts.yaml")
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]


def test_every_alert_without_a_recording_is_there() -> None:
    """The others need Prometheus to record what they read."""
    expected = {
        alert.name for group in rule_groups() if not group.records for alert in group.alerts
    }
    assert {rule["title"] for rule in RULES} == expected
    assert not any(
        "sidelight:" in query["model"].get("expr", "") for rule in RULES for query in rule["data"]
    )


def test_uids_are_unique_and_short() -> None:
    """Grafana refuses a file in which a uid stands twice, or is longer than 40 characters."""
    uids = [rule["uid"] for rule in RULES]
    assert len(uids) == len(set(uids))
    assert all(re.fullmatch(r"[\w-]{1,40}", uid) for uid in uids)


@pytest.mark.parametrize("rule", RULES, ids=[rule["title"] for rule in RULES])
def test_a_rule_is_complete(rule: dict[str, Any]) -> None:
    """A query, a condition on it, and texts that read the query's value."""
    query, condition = rule["data"]
    assert rule["condition"] == condition["refId"]
    assert condition["model"]["expression"] == query["refId"]
    assert condition["datasourceUid"] == "__expr__"
    assert {one["model"]["refId"] for one in rule["data"]} == {one["refId"] for one in rule["data"]}
    assert "$value" not in re.sub(r"\$values\.A\.Value", "", json.dumps(rule["annotations"]))


def test_nothing_looks_like_an_environment_variable() -> None:
    """Grafana replaces `$NAME` in every field of a provisioned rule but its annotations."""
    for rule in RULES:
        assert "$" not in json.dumps({**rule, "annotations": {}}), rule["title"]


def test_the_data_source_is_that_of_the_other_file() -> None:
    """Alerts name the data source by its uid."""
    [source] = yaml.safe_load(FILES["grafana-datasource.yaml"])["datasources"]
    assert {rule["data"][0]["datasourceUid"] for rule in RULES} == {source["uid"]}


def test_config_maps_hold_the_boards() -> None:
    """One for each board, below the 1 MiB of a ConfigMap, byte for byte the file."""
    documents = list(yaml.safe_load_all(FILES["sidelight-configmaps.yaml"]))
    assert {document["metadata"]["name"] for document in documents} == {
        board.uid for board in BOARDS
    }
    for document in documents:
        [(name, text)] = document["data"].items()
        assert text == FILES[name]
        assert len(text.encode()) < 1024 * 1024
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_provider_is_what_grafana_reads() -> None:
    """Its path is the one that docs/dashboards/index.md copies to."""
    [provider] = yaml.safe_load(FILES["grafana-dashboards.yaml"])["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards/sidelight"
