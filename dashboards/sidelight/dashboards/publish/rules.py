"""Alerts as rule files: for Prometheus itself, and as a PrometheusRule for its operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sidelight.dashboards.alerts.alert import Alert, AlertGroup, RecordingRule
from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.catalog.metric import RESULT_LABELS
from sidelight.dashboards.publish.grafana import panel_ids
from sidelight.dashboards.publish.links import Links, runbook_url

RULE_FILE: Final = "sidelight-rules.yaml"
PROMETHEUS_RULE_FILE: Final = "sidelight-prometheusrule.yaml"

Document = dict[str, Any]


def rule_document(groups: Iterable[AlertGroup], links: Links | None = None) -> Document:
    """The groups as a Prometheus rule file has them."""
    return {
        "groups": [
            {
                "name": group.name,
                "rules": [
                    *map(_record, group.records),
                    *(_rule(alert, links or Links()) for alert in group.alerts),
                ],
            }
            for group in groups
        ]
    }


def prometheus_rule(rules: Document) -> Document:
    """A rule file as the resource that Prometheus Operator reads."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sidelight", "labels": {"app.kubernetes.io/name": "sidelight"}},
        "spec": rules,
    }


def _record(rule: RecordingRule) -> Document:
    labels = {"labels": dict(rule.labels)} if rule.labels else {}
    return {"record": rule.name, "expr": str(rule.expression), **labels}


def _rule(alert: Alert, links: Links) -> Document:
    return {
        "alert": alert.name,
        "expr": str(alert.expression),
        "for": alert.wait,
        "labels": {"severity": alert.severity, **dict(alert.labels)},
        "annotations": alert_annotations(alert, links),
    }


def alert_annotations(alert: Alert, links: Links) -> dict[str, str]:
    """What an alert says and where it leads, with Prometheus's templates."""
    return {
        "summary": alert.summary,
        "description": alert.advice,
        "dashboard_url": f"{links.grafana.rstrip('/')}{_panel_path(alert)}",
        "runbook_url": runbook_url(alert, links),
    }


def _panel_path(alert: Alert) -> str:
    [board] = (board for board in BOARDS if board.uid == alert.board)
    parameters = [*_selection(alert, board), f"viewPanel={panel_ids(board)[alert.panel]}"]
    return f"/d/{board.uid}?{'&'.join(parameters)}"


def _selection(alert: Alert, board: Board) -> Iterator[str]:
    """The board's variables, set to what the alert is about."""
    variables = {variable.name for variable in board.variables}
    for dimension in alert.by:
        if dimension in variables:
            label = RESULT_LABELS[dimension]
            yield f"var-{dimension}={{{{ $labels.{label} | urlquery }}}}"
