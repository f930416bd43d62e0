"""Windows and factors of the burn-rate alerts."""

from __future__ import annotations

import dataclasses

import pytest

from sidelight.dashboards.publish import slo_page
from sidelight.dashboards.slo.burn_rates import BURNS, group
from sidelight.dashboards.slo.objective import read_objectives
from support.paths import DOCS

PAGE = (DOCS / "slo.md").read_text()


def test_the_factors_are_those_of_the_sre_workbook() -> None:
    """For 30 days; 1h/5m, 6h/30m, 1d/2h, 3d/6h."""
    assert [(burn.long, burn.short) for burn in BURNS] == [
        ("1h", "5m"),
        ("6h", "30m"),
        ("1d", "2h"),
        ("3d", "6h"),
    ]
    assert [burn.factor(30) for burn in BURNS] == pytest.approx([14.4, 6, 3, 1])


def test_a_shorter_window_burns_faster() -> None:
    """The same part of a budget of seven days is used at a lower rate."""
    [objective, *_] = read_objectives()
    week = dataclasses.replace(objective, days=7)
    [fast, *_] = group([week]).alerts
    assert "> 0.0336" in str(fast.expression)


def test_an_objective_that_is_not_required_has_no_alert_on_its_absence() -> None:
    """Without searches nothing is wrong."""
    absent = [
        dict(alert.labels)["slo"]
        for alert in group(read_objectives()).alerts
        if alert.name == "SidelightSloMetricAbsent"
    ]
    assert absent == ["time-to-first-token", "inter-token-latency", "availability"]


def test_a_source_without_the_bound_is_left_out() -> None:
    """Server spans have no bucket at 20 s, vLLM has."""
    [objective, *_] = read_objectives()
    [events, bad, *_] = group([dataclasses.replace(objective, threshold=20.0)]).records
    for record in (events, bad):
        assert "vllm:" in str(record.expression)
        assert "gen_ai" not in str(record.expression)


def test_the_committed_page_is_what_the_code_generates() -> None:
    """`make dashboards` writes its tables."""
    assert slo_page.fill(PAGE) == PAGE
