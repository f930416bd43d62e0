"""What alerts, objectives and autoscalers ask a real Prometheus: no Grafana, any grouping."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidelight.dashboards.catalog.metric import RESULT_LABELS
from sidelight.dashboards.promql import Expr
from sidelight.dashboards.queries import batching, engine, requests
from sidelight.dashboards.view import LabelMatch, View
from support.dashboard_prometheus import (
    REFERENCE,
    TEST_SECONDS,
    WINDOW,
    Moment,
    Servers,
    is_answered,
)
from support.dashboard_queries import QUERIES
from support.sidelight_exposition import MODEL as OWN_MODEL

pytestmark = [pytest.mark.real("prometheus"), pytest.mark.timeout(TEST_SECONDS)]


# They return nothing while no server comes or goes.
_OF_CHANGES = ("engine.added", "engine.removed")
STEADY = [name for name in QUERIES if name not in _OF_CHANGES]


def _job(name: str) -> str:
    """The job that has what a query reads."""
    if name.startswith("kv_events."):
        return "sidelight"
    if name.startswith("gpu."):
        return "on-kubernetes"
    return "restarting" if name == "engine.restarts" else REFERENCE


@pytest.mark.parametrize("name", STEADY)
def test_every_query_returns_data(prometheus: Moment, name: str) -> None:
    """With a plain view alone, from the engine's metrics or Sidelight's."""
    view = View({"job": _job(name)}, WINDOW)
    assert is_answered(prometheus.query(str(QUERIES[name](view))))


@pytest.mark.parametrize("name", STEADY)
def test_every_query_can_be_kept_apart(prometheus: Moment, name: str) -> None:
    """Grouped by all it knows, it returns the groups and no label of another source."""
    view = View({"job": _job(name)}, WINDOW).per(*RESULT_LABELS)
    answer = prometheus.query(str(QUERIES[name](view)))
    assert is_answered(answer)
    assert not {"gen_ai_request_model", "sidelight_engine_index"} & {
        label for one in answer for label in one.labels
    }


@pytest.mark.parametrize("name", ["batching.running", "batching.steps", "kv_cache.cached_tokens"])
def test_groups_add_up_to_the_whole(prometheus: Moment, name: str) -> None:
    """Keeping apart loses nothing and counts nothing twice."""
    view = View({"job": "two-engines-lora"}, WINDOW)
    [whole] = prometheus.query(str(QUERIES[name](view)))
    groups = prometheus.query(str(QUERIES[name](view.per("model", "engine"))))
    assert {one.labels["engine"] for one in groups} == {"0", "1"}
    assert sum(one.value for one in groups) == pytest.approx(whole.value)


def test_a_filter_leaves_out_the_others(prometheus: Moment) -> None:
    """One engine of two, and no job that is not there."""
    job = "two-engines-lora"
    one = str(batching.running(View({"job": job, "engine": "1"}, WINDOW).per("engine")))
    [series] = prometheus.query(one)
    assert series.labels == {"engine": "1"}
    other = str(batching.running(View({"job": LabelMatch("!=", job)}, WINDOW).per("job")))
    assert job not in {one.labels["job"] for one in prometheus.query(other)}
    assert not prometheus.query(str(batching.running(View({"job": "nowhere"}, WINDOW))))


def test_both_sources_answer_under_the_same_labels(prometheus: Moment) -> None:
    """A rule by model has `model_name`, whether it comes from spans or from vLLM."""
    by_model = View({"job": REFERENCE, "model": OWN_MODEL}, WINDOW).per("model")
    from_spans = prometheus.query(str(requests.request_rate(by_model)))
    assert [one.labels for one in from_spans] == [{"model_name": OWN_MODEL}]
    by_model = View({"job": REFERENCE, "model": "tiny"}, WINDOW).per("model")
    from_engine = prometheus.query(str(requests.request_rate(by_model)))
    assert [one.labels for one in from_engine] == [{"model_name": "tiny"}]


def test_a_model_without_errors_has_a_zero_of_its_own(servers: Servers) -> None:
    """So that a rule by model resolves instead of losing its series."""
    view = View({"model": OWN_MODEL}, WINDOW).per("model")
    [series] = servers.flawless.query(str(requests.error_ratio(view)))
    assert (series.labels, series.value) == ({"model_name": OWN_MODEL}, 0)


def test_promtool_accepts_every_query_as_a_rule(tmp_path: Path) -> None:
    """Exactly as a rule file would have them, alone and grouped."""
    view = View({"job": "vllm", "model": LabelMatch("=~", "llama-.*")}, "5m")
    rules = [
        {"record": f"sidelight:{name.replace('.', '_')}:{suffix}", "expr": str(query(asked))}
        for name, query in QUERIES.items()
        for suffix, asked in (("whole", view), ("by", view.per(*RESULT_LABELS)))
    ]
    rule_file = tmp_path / "rules.yml"
    rule_file.write_text(json.dumps({"groups": [{"name": "sidelight", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", rule_file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


@pytest.mark.parametrize(
    ("query", "instances"),
    [
        (engine.added, {8: (), 12: ("b",), 18: ()}),
        (engine.removed, {12: (), 33: (), 38: ("a",), 42: ()}),
    ],
)
def test_servers_that_come_and_go_are_seen_for_a_window(
    query: Callable[[View], Expr], instances: dict[int, tuple[str, ...]], tmp_path: Path
) -> None:
    """A rolling update: `b` begins at minute 10, `a` ends at minute 30; nothing else is marked."""
    series = {"a": "1x30 _x20", "b": "_x9 1x40"}
    expression = str(query(View({"job": "vllm"}, "5m")))
    document = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": f'{name}{{job="vllm",instance="{instance}"}}', "values": values}
                    for instance, values in series.items()
                    for name in ("vllm:num_requests_running", "vllm_num_requests_running")
                ],
                "promql_expr_test": [
                    {
                        "expr": expression,
                        "eval_time": f"{minute}m",
                        "exp_samples": [
                            {"labels": f'{{instance="{instance}"}}', "value": 1}
                            for instance in expected
                        ],
                    }
                    for minute, expected in instances.items()
                ],
            }
        ]
    }
    (tmp_path / "tests.yml").write_text(json.dumps(document))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
