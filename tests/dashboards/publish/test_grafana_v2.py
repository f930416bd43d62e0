"""The v2 schema holds what v1 holds: the same queries, options, places and variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sidelight.collector.cli.dashboards import dashboards
from sidelight.dashboards.publish.config_maps import CONFIG_MAPS_FILE
from sidelight.dashboards.publish.files import render, render_boards
from sidelight.dashboards.publish.grafana_v2 import dashboard_v2

V1 = {name: json.loads(text) for name, text in render_boards().items()}
V2 = {name: json.loads(text) for name, text in render_boards(schema="v2").items()}
each_board = pytest.mark.parametrize("name", V1)


def _panels(name: str) -> list[dict[str, Any]]:
    return [panel for panel in V1[name]["panels"] if panel["type"] != "row"]


@each_board
def test_panels_are_the_same(name: str) -> None:
    """By their ids: title, text, queries, options and fields."""
    elements = V2[name]["spec"]["elements"]
    assert len(elements) == len(_panels(name))
    for panel in _panels(name):
        spec = elements[f"panel-{panel['id']}"]["spec"]
        assert (spec["title"], spec["description"]) == (panel["title"], panel["description"])
        assert spec["vizConfig"]["group"] == panel["type"]
        assert spec["vizConfig"]["spec"] == {
            "options": panel["options"],
            "fieldConfig": panel["fieldConfig"],
        }
        assert [link["url"] for link in spec["links"]] == [link["url"] for link in panel["links"]]
        queries = [one["spec"] for one in spec["data"]["spec"]["queries"]]
        assert [one["refId"] for one in queries] == [one["refId"] for one in panel["targets"]]
        for query, target in zip(queries, panel["targets"], strict=True):
            assert query["query"]["datasource"] == {"name": "${datasource}"}
            # What has no type in v2, `tsc` has checked in v1.
            expected = target.keys() - {"datasource", "refId"}
            assert query["query"]["spec"] == {key: target[key] for key in expected}


@each_board
def test_every_panel_has_one_place_in_its_row(name: str) -> None:
    """Rows in their order, panels from the row's top on and within 24 columns."""
    rows = [row["spec"] for row in V2[name]["spec"]["layout"]["spec"]["rows"]]
    titles = [panel["title"] for panel in V1[name]["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == titles
    placed = []
    for row in rows:
        items = [item["spec"] for item in row["layout"]["spec"]["items"]]
        assert min(item["y"] for item in items) == 0
        assert max(item["x"] + item["width"] for item in items) == 24
        placed += [item["element"]["name"] for item in items]
    assert placed == [f"panel-{panel['id']}" for panel in _panels(name)]


@each_board
def test_variables_and_annotations_are_the_same(name: str) -> None:
    """In their order, with the queries that fill them."""
    variables = {one["spec"]["name"]: one["spec"] for one in V2[name]["spec"]["variables"]}
    assert list(variables) == [one["name"] for one in V1[name]["templating"]["list"]]
    for one in V1[name]["templating"]["list"]:
        if one["type"] == "query":
            assert variables[one["name"]]["query"]["spec"] == one["query"]
            assert variables[one["name"]]["allValue"] == one["allValue"]
    annotations = [one["spec"] for one in V2[name]["spec"]["annotations"]]
    assert [one["query"]["spec"]["expr"] for one in annotations] == [
        one["target"]["expr"] for one in V1[name]["annotations"]["list"]
    ]


def test_an_unknown_variable_is_an_error() -> None:
    """Instead of a board that lacks it."""
    board = V1["sidelight-collector.json"] | {
        "templating": {"list": [{"name": "x", "label": "", "description": "", "type": "adhoc"}]}
    }
    with pytest.raises(ValueError, match="no board has a variable of type adhoc"):
        dashboard_v2(board)


def test_the_option_writes_v2_into_the_json_files_alone(tmp_path: Path) -> None:
    """What Grafana provisions from ConfigMaps stays v1, which every Grafana reads there."""
    done = CliRunner().invoke(dashboards, ["write", str(tmp_path), "--schema", "v2"])
    assert done.exit_code == 0, done.output
    for name, board in V2.items():
        assert json.loads((tmp_path / name).read_text()) == board
    assert (tmp_path / CONFIG_MAPS_FILE).read_text() == render()[CONFIG_MAPS_FILE]
