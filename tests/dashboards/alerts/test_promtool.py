"""Every alert in promtool's unit tests: fires, ends, and stays quiet where all is well."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS
from sidelight.dashboards.publish.files import rule_groups
from sidelight.dashboards.publish.rules import rule_document
from support.alerting.case import Case, quiet_test, unit_tests
from support.alerting.firing_collector import COLLECTOR_CASES
from support.alerting.firing_engine import ENGINE_CASES
from support.alerting.firing_own import OWN_CASES
from support.alerting.firing_slo import SLO_CASES
from support.alerting.fleet import MINUTES
from support.alerting.quiet import QUIET
from support.vllm_exposition import PREDECESSORS

CASES = (*ENGINE_CASES, *OWN_CASES, *COLLECTOR_CASES, *SLO_CASES)
QUIET_TIMES = range(0, MINUTES, 3)
ALERTS = {alert.name: alert for group in rule_groups() for alert in group.alerts}


def _rules() -> list[dict[str, Any]]:
    """The rules, with the sentence as the only text: the other texts are the same in every case."""
    return [
        rule | {"annotations": {"summary": rule["annotations"]["summary"]}}
        if "alert" in rule
        else rule
        for group in rule_document(rule_groups())["groups"]
        for rule in group["rules"]
    ]


def _file(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"groups": [{"name": "tested", "rules": rules}]}


def _promtool(directory: Path, tests: Mapping[str, dict[str, Any]]) -> str:
    """What promtool finds wrong in files of tests, in one call; empty if nothing is."""
    for name, document in tests.items():
        (directory / f"{name}.yml").write_text(json.dumps(document))
    done = subprocess.run(
        ["promtool", "test", "rules", *(f"{name}.yml" for name in tests)],
        cwd=directory,
        # Less garbage collection: it would take a quarter of the CPU time.
        env={**os.environ, "GOGC": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _renamed(rename: Callable[[str], str]) -> Callable[[Case, str], Case]:
    def renamed(case: Case, title: str) -> Case:
        return case.named(title, {rename(name): values for name, values in case.series.items()})

    return renamed


def _old(series: str) -> str:
    for old, new in PREDECESSORS.items():
        if series.removeprefix("vllm:").startswith(new):
            return f"vllm:{old}" + series.removeprefix(f"vllm:{new}")
    return series


_WAYS: dict[str, Callable[[Case, str], Case]] = {
    "through Ray": _renamed(lambda name: name.replace("vllm:", "ray_vllm_", 1)),
    "through a scrape that mangles colons": _renamed(
        lambda name: name.replace("vllm:", "vllm_", 1)
    ),
    "as the oldest release names them": _renamed(_old),
}


@pytest.mark.slow
@pytest.mark.real("prometheus")
def test_every_alert_fires_and_ends(tmp_path: Path) -> None:
    """With its labels and its numbers, under every name that its metrics have had."""
    cases = list(CASES)
    for title, way in _WAYS.items():
        oldest = title.startswith("as the oldest")
        cases += [
            way(case, title)
            for case in ENGINE_CASES
            if not oldest or case.first == RECORDED_VERSIONS[0]
        ]
    tests = {}
    records = [rule for rule in _rules() if "record" in rule]
    for name, alert in ALERTS.items():
        # Each in a file of its own: promtool evaluates all rules of a file for all of its tests.
        rules = [rule for rule in _rules() if rule.get("alert") == name]
        if any("sidelight:slo" in series for series in alert.expression.metrics()):
            rules = records + rules
        (tmp_path / f"{name}.rules").write_text(json.dumps(_file(*rules)))
        of_alert = [case for case in cases if case.alert == name]
        tests[name] = unit_tests(f"{name}.rules", of_alert, alert.severity)
    assert _promtool(tmp_path, tests) == ""


@pytest.mark.slow
@pytest.mark.real("prometheus")
def test_no_alert_fires_where_all_is_well(tmp_path: Path) -> None:
    """Idle, busy, few requests, stale gauges, scaling, updates: at any time, no alert at all."""
    (tmp_path / "all.rules").write_text(json.dumps(_file(*_rules())))
    tests = [quiet_test(title, series, QUIET_TIMES) for title, series in QUIET.items()]
    document = {"rule_files": ["all.rules"], "evaluation_interval": "2m", "tests": tests}
    assert _promtool(tmp_path, {"quiet": document}) == ""


def test_each_alert_is_seen_firing_and_ending() -> None:
    """An alert without a case is not tested; one that never ends pages for ever."""
    for name in ALERTS:
        times = [
            (minute, bool(firing))
            for case in CASES
            if case.alert == name
            for minute, firing in case.at.items()
        ]
        assert any(fires for _, fires in times), name
        assert not times[-1][1], name


def test_the_old_names_are_used() -> None:
    """The renaming above finds the names it is for."""
    assert _old('vllm:kv_cache_usage_perc{a="b"}') == 'vllm:gpu_cache_usage_perc{a="b"}'
    assert _old("vllm:num_requests_running") == "vllm:num_requests_running"
