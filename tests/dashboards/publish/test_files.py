"""Rendering, checking and writing boards."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidelight.dashboards.alerts.published import alert_groups
from sidelight.dashboards.boards.overview import OVERVIEW
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.panels.panel import COUNT, Panel, PanelQuery, Row
from sidelight.dashboards.promql import VectorSelector
from sidelight.dashboards.publish import files as dashboards
from sidelight.dashboards.publish.check import UndefinedMetricError, require_defined
from sidelight.dashboards.publish.datasource import DATASOURCE_FILE
from sidelight.dashboards.publish.read_back import interpolate
from support.paths import ROOT

GENERATED = ROOT / "dashboards" / "generated"


def test_committed_files_are_what_the_code_generates() -> None:
    """A change of a board or an alert shows in review; `make dashboards` writes them."""
    committed = {path.name: path.read_text() for path in GENERATED.iterdir()}
    assert committed == dashboards.render()


def test_rendering_is_repeatable() -> None:
    """The same code gives the same bytes."""
    assert dashboards.render() == dashboards.render()


def test_write_makes_the_folder_and_replaces_what_is_there(tmp_path: Path) -> None:
    """Every file is whole, older ones are replaced, and nothing else is left behind."""
    folder = tmp_path / "made" / "here"
    first = dashboards.write(folder)
    (folder / "sidelight-overview.json").write_text("{")
    assert dashboards.write(folder) == first
    assert sorted(first) == sorted(folder.iterdir())
    rendered = dashboards.render()
    for path in first:
        assert path.read_text() == rendered[path.name]


def test_exemplars_link_to_the_trace_by_its_label(tmp_path: Path) -> None:
    """The data source turns the exemplars' `trace_id` into a link."""
    dashboards.write(tmp_path)
    [source] = yaml.safe_load((tmp_path / DATASOURCE_FILE).read_text())["datasources"]
    [link] = source["jsonData"]["exemplarTraceIdDestinations"]
    assert link["name"] == "trace_id"
    # Grafana reads `$$` as `$`; a single one would be taken for an environment variable.
    assert link["url"].endswith("/$${__value.raw}")


def test_a_panel_on_an_unknown_metric_is_refused() -> None:
    """The board is not published, and the message names board, panel and metric."""
    dead = Panel(
        "Swapped requests",
        "Gone since the V1 engine.",
        COUNT,
        (PanelQuery(VectorSelector(("vllm:num_requests_swapped",)), "swapped"),),
    )
    board = dataclasses.replace(OVERVIEW, rows=(*OVERVIEW.rows, Row("Dead", (dead,))))
    with pytest.raises(UndefinedMetricError) as refused:
        require_defined([board])
    for part in ("Sidelight / Overview", "Swapped requests", "vllm:num_requests_swapped"):
        assert part in str(refused.value)


def test_an_alert_on_an_unknown_metric_is_refused() -> None:
    """llm-d's alert on preemptions forgot `_total` and never fired."""
    group = alert_groups()[0]
    dead = dataclasses.replace(
        group.alerts[0], expression=VectorSelector(("vllm:num_preemptions",))
    )
    with pytest.raises(UndefinedMetricError, match=f"{dead.name} reads vllm:num_preemptions$"):
        require_defined([], [dataclasses.replace(group, alerts=(dead,))])


def test_what_is_published_reads_only_defined_metrics() -> None:
    """The check passes on all boards and alerts."""
    require_defined(BOARDS, alert_groups())


def test_the_missing_package_is_named_in_one_sentence() -> None:
    """Without grafana-foundation-sdk the import says what is missing and how to get it."""
    program = (
        "import sys; sys.modules['grafana_foundation_sdk'] = None\n"
        "try:\n    import sidelight.dashboards.publish.files\n"
        "except ImportError as error:\n    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == (
        "Grafana dashboards need grafana-foundation-sdk, which is not installed: "
        "pip install 'sidelight[dashboards]'"
    )
    assert told.stderr == ""


def test_importing_warns_nobody() -> None:
    """The SDK's deprecation of the v1 schema is not the reader's business."""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sidelight.dashboards.publish.files"],
        check=True,
    )


class TestInterpolation:
    def test_variables_are_replaced_in_every_spelling(self) -> None:
        """`$name`, `${name}` and `${name:format}` alike."""
        text = 'x{a="$job",b="${job}",c="${job:regex}"}[$__rate_interval]'
        filled = interpolate(text, {"job": "vllm", "__rate_interval": "1m"})
        assert filled == 'x{a="vllm",b="vllm",c="vllm"}[1m]'

    def test_the_groups_of_label_replace_stay(self) -> None:
        """`$1` is PromQL's."""
        assert interpolate('label_replace(x, "a", "$1", "b", "(.+)")', {}).count("$1") == 1

    def test_a_variable_without_a_value_is_an_error(self) -> None:
        """No query is run with a hole in it."""
        with pytest.raises(KeyError, match="job"):
            interpolate('x{job="$job"}', {})


def test_boards_are_json_grafana_can_import() -> None:
    """Plain JSON in the v1 schema: panels, templating, annotations, and a schema version."""
    for text in dashboards.render_boards().values():
        board = json.loads(text)
        assert board["schemaVersion"] >= 41
        assert {"panels", "templating", "annotations", "time"} <= board.keys()
