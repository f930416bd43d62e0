"""One case of an alert, and promtool's file of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# Where no `le` is given: bounds as vLLM writes them, `1.0` rather than `1`.
Labels = Mapping[str, str]
TARGET = {"job": "vllm", "instance": "a:8000"}
MODEL = {"model_name": "llama"}
ENGINE = {**TARGET, **MODEL, "engine": "0"}


def selector(name: str, labels: Labels) -> str:
    """A series as promtool writes it."""
    inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inner}}}"


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert with its labels, `alertname` and `severity` left out, and its sentence."""

    summary: str
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Series, and what an alert does at some times; times are in minutes.

    Names are those of the newest vLLM. `first` is the oldest recorded release in which the case
    can be seen, because it exports what the alert reads.
    """

    alert: str
    title: str
    series: Mapping[str, str]
    at: Mapping[int, tuple[Firing, ...]]
    interval_minutes: int = 1
    evaluation_minutes: int = 1
    first: str = "0.8.5"

    def named(self, title: str, series: Mapping[str, str]) -> Case:
        """The same under other names of series."""
        return replace(self, title=f"{self.title} ({title})", series=series)


def unit_tests(rule_file: str, cases: Sequence[Case], severity: str) -> dict[str, Any]:
    """promtool's file for the cases of one alert."""
    return {
        "rule_files": [rule_file],
        "evaluation_interval": f"{max(_evaluation(case) for case in cases)}m",
        "tests": [_test(case, severity) for case in cases],
    }


def quiet_test(title: str, series: Mapping[str, str], minutes: Iterable[int]) -> dict[str, Any]:
    """A test in which no alert fires at any of some times."""
    return {
        "name": title,
        "interval": "1m",
        "input_series": _input(series),
        "promql_expr_test": [
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m", "exp_samples": []}
            for minute in minutes
        ],
    }


def _evaluation(case: Case) -> int:
    return max(case.interval_minutes, case.evaluation_minutes)


def _test(case: Case, severity: str) -> dict[str, Any]:
    return {
        "name": f"{case.alert}: {case.title}",
        "interval": f"{case.interval_minutes}m",
        "input_series": _input(case.series),
        "alert_rule_test": [
            {
                "eval_time": f"{minute}m",
                "alertname": case.alert,
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": severity, **firing.labels},
                        "exp_annotations": {"summary": firing.summary},
                    }
                    for firing in expected
                ],
            }
            for minute, expected in case.at.items()
        ],
    }


def _input(series: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]
