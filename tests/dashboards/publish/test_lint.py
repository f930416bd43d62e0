"""Rules every generated board keeps, in the manner of grafana/dashboard-linter and beyond."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sidelight.dashboards.boards.published import BOARDS as PUBLISHED
from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.promql import Aggregation, BinaryOperation, Expr, FunctionCall
from sidelight.dashboards.publish.files import render_boards
from sidelight.dashboards.publish.read_back import BoardQuery, board_queries

BOARDS: dict[str, dict[str, Any]] = {
    name: json.loads(text) for name, text in render_boards().items()
}
QUERIES: list[BoardQuery] = [
    query for text in render_boards().values() for query in board_queries(text)
]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _each_panel() -> Iterator[Any]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield pytest.param(panel, id=f"{name}-{panel['title']}")


def _variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def _is_of_engines(board: dict[str, Any]) -> bool:
    return "vllm:" in json.dumps(board["panels"])


@pytest.fixture(params=list(BOARDS.values()), ids=list(BOARDS))
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each generated board."""
    found: dict[str, Any] = request.param
    return found


class TestBoard:
    def test_has_an_identity(self, board: dict[str, Any]) -> None:
        """A stable uid of Grafana's length, a title, a description, no id of one instance."""
        assert re.fullmatch(r"[a-z0-9-]{8,40}", board["uid"])
        assert board["title"]
        assert board["description"]
        assert "id" not in board

    def test_is_not_edited_by_hand(self, board: dict[str, Any]) -> None:
        """A generated board is read-only, so nobody loses changes at the next generation."""
        assert board["editable"] is False

    def test_ids_are_unique(self, board: dict[str, Any]) -> None:
        """Rows and panels have ids of their own: links to a panel use them."""
        ids = [panel["id"] for panel in board["panels"]]
        assert sorted(ids) == list(range(1, len(ids) + 1))

    def test_titles_are_unique(self, board: dict[str, Any]) -> None:
        """A panel can be named without saying where it stands."""
        titles = [panel["title"] for panel in board["panels"]]
        assert [title for title, count in Counter(titles).items() if count > 1] == []

    def test_panels_do_not_overlap(self, board: dict[str, Any]) -> None:
        """Every cell of the grid belongs to one panel, and none is outside its 24 columns."""
        taken: Counter[tuple[int, int]] = Counter()
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            taken.update(
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            )
        assert max(taken.values()) == 1
        assert len(taken) == 24 * (1 + max(y for _, y in taken)), "a hole in the grid"

    def test_links_and_annotations_are_in_sight(self, board: dict[str, Any]) -> None:
        """Nothing hides in Grafana's controls menu."""
        assert "inControlsMenu" not in json.dumps(board)
        boards, traces = board["links"]
        assert (boards["type"], boards["tags"]) == ("dashboards", ["sidelight"])
        assert boards["includeVars"] is True
        assert traces["url"] == "${traces}"

    def test_restarts_and_deployments_are_annotated(self, board: dict[str, Any]) -> None:
        """Servers that restart, come and go are drawn over the charts of engines."""
        annotations = board["annotations"]["list"]
        expected = ["vLLM restarted", "vLLM added", "vLLM removed"] if _is_of_engines(board) else []
        assert [annotation["name"] for annotation in annotations] == expected
        assert len({annotation["iconColor"] for annotation in annotations}) == len(annotations)
        for annotation in annotations:
            assert annotation["enable"] is True
            assert annotation["datasource"] == DATASOURCE
            assert annotation["target"]["refId"]

    def test_links_of_panels_lead_somewhere(self, board: dict[str, Any]) -> None:
        """To the trace UI from every panel with exemplars, and to boards that are there."""
        for panel in (panel for panel in board["panels"] if panel["type"] != "row"):
            links = {link["title"]: link["url"] for link in panel["links"]}
            has_exemplars = any(target["exemplar"] for target in panel["targets"])
            assert links.pop("Traces", None) == ("${traces}" if has_exemplars else None)
            for title, url in links.items():
                uid = url.removeprefix("/d/").partition("?")[0]
                assert title == f"More: {BOARDS[f'{uid}.json']['title']}"
                assert uid != board["uid"]
                shown = {other["title"] for other in BOARDS[f"{uid}.json"]["panels"]}
                assert panel["title"] in shown

    def test_variables_are_those_promised(self, board: dict[str, Any]) -> None:
        """Data source, job, model, instance and engine can be chosen, where engines are shown."""
        if not _is_of_engines(board):
            assert not {"job", "instance", "engine"} & _variables(board).keys()
            return
        of_engines = ["datasource", "job", "namespace", "model", "instance", "engine"]
        assert list(_variables(board))[:6] == of_engines

    def test_the_datasource_is_a_variable(self, board: dict[str, Any]) -> None:
        """dashboard-linter: template-datasource-rule."""
        datasource = _variables(board)["datasource"]
        assert (datasource["type"], datasource["query"]) == ("datasource", "prometheus")
        assert datasource["label"] == "Data source"

    @pytest.mark.parametrize("name", ["job", "instance"])
    def test_job_and_instance_are_multiple(self, board: dict[str, Any], name: str) -> None:
        """dashboard-linter: template-job-rule and template-instance-rule."""
        if not _is_of_engines(board):
            return
        variable = _variables(board)[name]
        assert variable["datasource"] == DATASOURCE
        assert variable["label"] == name.capitalize()
        assert variable["multi"] is True
        assert variable["allValue"] == ".+"

    def test_all_jobs_at_once_is_not_the_default(self, board: dict[str, Any]) -> None:
        """An engine scraped directly and through the collector is not counted twice."""
        if not _is_of_engines(board):
            return
        job = _variables(board)["job"]
        assert job["includeAll"] is False
        assert "current" not in job

    def test_queried_variables_reload_with_the_time_range(self, board: dict[str, Any]) -> None:
        """dashboard-linter: template-on-time-change-reload-rule."""
        for variable in _variables(board).values():
            if variable["type"] == "query":
                assert variable["refresh"] == 2
                assert variable["query"]["refId"]

    def test_no_variable_has_the_keys_of_another_type(self, board: dict[str, Any]) -> None:
        """`tsc` refuses them against @grafana/schema's Dashboard."""
        for variable in _variables(board).values():
            assert not {"auto", "auto_min", "auto_count"} & variable.keys()

    def test_every_variable_is_explained(self, board: dict[str, Any]) -> None:
        """A reader learns what a variable does by pointing at it."""
        for variable in _variables(board).values():
            assert variable["description"].endswith(".")

    def test_variables_are_defined_and_used(self, board: dict[str, Any]) -> None:
        """No expression waits for a variable that is missing, and no variable does nothing."""
        everything = json.dumps([board["panels"], board["links"], board["annotations"]])
        everything += json.dumps([variable.get("query") for variable in _variables(board).values()])
        used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", everything))
        builtin = {"__rate_interval", "__range", "__url_time_range", "__all_variables"}
        assert used - builtin == set(_variables(board))


@pytest.mark.parametrize("panel", list(_each_panel()))
class TestPanel:
    def test_says_what_it_shows(self, panel: dict[str, Any]) -> None:
        """Title, description in whole sentences, unit, thresholds, data source."""
        assert panel["title"]
        assert re.search(r"\.\n\nMetrics: `[\w:]+`(, `[\w:]+`)*\.$", panel["description"])
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] not in ("", "none")
        steps = defaults["thresholds"]["steps"]
        assert steps[0]["value"] is None
        limits = [step["value"] for step in steps[1:]]
        assert limits == sorted(set(limits))
        assert panel["datasource"] == DATASOURCE

    def test_scales_start_at_zero(self, panel: dict[str, Any]) -> None:
        """No chart makes a mountain of 2 %, and no share is drawn beyond 1."""
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["min"] == 0
        assert defaults.get("max") in (None, 1)

    def test_zeros_have_a_sane_axis(self, panel: dict[str, Any]) -> None:
        """Grafana draws a flat zero on an axis up to 100 units: 10,000 % of a share."""
        if panel["type"] == "timeseries":
            defaults = panel["fieldConfig"]["defaults"]
            limit = 1 if defaults["unit"] in ("percentunit", "reqps") else math.inf
            assert defaults.get("max", defaults["custom"].get("axisSoftMax", math.nan)) <= limit

    def test_a_legend_leaves_the_plot_its_place(self, panel: dict[str, Any]) -> None:
        """A table with a line for each series takes more than a third of a panel."""
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["displayMode"] == "list"

    def test_a_legend_names_every_series(self, panel: dict[str, Any]) -> None:
        """With values, each series takes a line of a narrow panel: the fourth would be cut off."""
        if panel["type"] == "timeseries" and panel["gridPos"]["w"] < 12:
            is_fixed = not any("{{" in target["legendFormat"] for target in panel["targets"])
            has_room = is_fixed and len(panel["targets"]) <= 3
            assert panel["options"]["legend"]["calcs"] == (
                ["max", "lastNotNull"] if has_room else []
            )

    def test_targets_are_complete(self, panel: dict[str, Any]) -> None:
        """Each query has a refId of its own, a legend, the data source and one way to run."""
        assert panel["targets"]
        ids = [target["refId"] for target in panel["targets"]]
        assert ids == sorted(set(ids))
        for target in panel["targets"]:
            assert target["legendFormat"]
            assert target["datasource"] == DATASOURCE
            assert target["instant"] != target["range"]


class TestQueries:
    def test_rates_use_grafanas_interval(self) -> None:
        """dashboard-linter: target-rate-interval-rule; a single number covers the whole range."""
        for query in QUERIES:
            windows = set(re.findall(r"\[([^\]]*)\]", query.expression))
            if query.kind != "variable":
                allowed = "$__range" if query.instant else "$__rate_interval"
                assert windows <= {allowed}, query.place

    def test_engine_queries_filter_by_every_variable(self) -> None:
        """dashboard-linter: target-job-rule and target-instance-rule, for model and engine too."""
        for query in QUERIES:
            if query.kind != "panel":
                continue
            for name, matchers in re.findall(r"([\w:]*)\{([^}]*)\}", query.expression):
                if "vllm" not in name + matchers:
                    continue
                # vLLM does not say whose configuration it is.
                without_model = "cache_config_info" in name + matchers
                for label, variable in (
                    ("job", "$job"),
                    ("namespace", "$namespace"),
                    ("instance", "$instance"),
                    *(() if without_model else (("model_name", "$model"),)),
                    ("engine", "$engine"),
                ):
                    assert f'{label}=~"{variable}"' in matchers, query.place

    def test_counters_are_never_shown_raw(self) -> None:
        """dashboard-linter: target-counter-agg-rule."""
        for query in QUERIES:
            if query.kind == "panel":
                raw = re.findall(r"_(?:total|bucket|sum|count)\{[^}]*\}(?!\[)", query.expression)
                assert raw == [], query.place

    def test_quantiles_are_shares(self) -> None:
        """A quantile above 1 is silently infinite."""
        for query in QUERIES:
            for share in re.findall(r"histogram_quantile\(([\d.]+)", query.expression):
                assert 0 < float(share) < 1

    def test_latency_charts_ask_for_exemplars(self) -> None:
        """Duration, first token and searches lead from a point to its trace."""
        asking = {query.place for query in QUERIES if query.exemplars}
        assert {"Request duration", "Time to first token", "Search duration"} <= asking

    def test_no_query_reads_a_metric_nobody_defines(self) -> None:
        """The names in the finished text, not only those the pieces tell of, are all defined."""
        for query in QUERIES:
            plain = re.findall(r"([A-Za-z_:][\w:]*)\{", query.expression)
            listed = re.findall(r'__name__=~"([^"]*)"', query.expression)
            found = {*plain, *(name for names in listed for name in names.split("|"))}
            assert found <= METRIC_BY_SERIES.keys(), query.place

    def test_legends_name_labels_that_results_have(self) -> None:
        """Grafana shows nothing for a label that the sum has dropped."""
        faults = [
            (panel.title, query.legend)
            for board in PUBLISHED
            for row in board.rows
            for panel in row.panels
            for query in panel.queries
            if (kept := _kept(query.expression)) is not None
            and not set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= kept
        ]
        assert faults == []


def _kept(expression: Expr) -> set[str] | None:
    """The labels that a result can have; None where the expression does not say."""
    match expression:
        case Aggregation(keep="by"):
            return set(expression.labels)
        case BinaryOperation(operator="or"):
            first, second = map(_kept, expression.parts())
            return None if first is None or second is None else first | second
        case BinaryOperation():
            return next((kept for part in expression.parts() if (kept := _kept(part))), None)
        case FunctionCall(function="histogram_quantile"):
            kept = _kept(expression.parts()[-1])
            return None if kept is None else kept - {"le"}
        case _:
            return None
