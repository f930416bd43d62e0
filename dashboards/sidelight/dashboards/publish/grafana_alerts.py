"""Alerts as rules that Grafana itself evaluates, for its folder provisioning/alerting.

https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from typing import Any, Final

from sidelight.dashboards.alerts.alert import Alert, AlertGroup
from sidelight.dashboards.publish.datasource import DATASOURCE_UID
from sidelight.dashboards.publish.links import Links
from sidelight.dashboards.publish.rules import Document, alert_annotations

GRAFANA_ALERTS_FILE: Final = "grafana-alerts.yaml"
FOLDER: Final = "Sidelight"

_INTERVAL: Final = "1m"
# An instant query looks at its end alone, but Grafana wants a range.
_RANGE: Final = {"from": 600, "to": 0}
# Grafana's own data source for expressions.
_EXPRESSIONS: Final = "__expr__"
# A series of an alert counts whatever its value: some are 0. `$A`, as a formula would need it,
# is an environment variable in a provisioned file.
_ANY_VALUE: Final = {
    "type": "threshold",
    "expression": "A",
    "conditions": [{"evaluator": {"type": "gt", "params": [-1e300]}}],
}


def grafana_alerts(groups: Iterable[AlertGroup], links: Links | None = None) -> Document:
    """The alerts of groups without recording rules.

    Prometheus has to keep what is recorded, so the alerts that read it stay with Prometheus.
    """
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": group.name,
                "folder": FOLDER,
                "interval": _INTERVAL,
                "rules": [_rule(alert, links or Links()) for alert in group.alerts],
            }
            for group in groups
            if not group.records
        ],
    }


def _rule(alert: Alert, links: Links) -> Document:
    return {
        "uid": _uid(alert),
        "title": alert.name,
        "condition": "B",
        "data": [
            _query("A", DATASOURCE_UID, {"expr": str(alert.expression), "instant": True}),
            _query("B", _EXPRESSIONS, _ANY_VALUE),
        ],
        "for": alert.wait,
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": {"severity": alert.severity, **dict(alert.labels)},
        # `$value` is a text of all values in Grafana. Annotations are the one field in which
        # Grafana leaves `$` alone (grafana#54975).
        "annotations": {
            name: text.replace("$value", "$values.A.Value")
            for name, text in alert_annotations(alert, links).items()
        },
    }


def _query(ref_id: str, datasource: str, model: dict[str, Any]) -> Document:
    return {
        "refId": ref_id,
        "datasourceUid": datasource,
        "relativeTimeRange": dict(_RANGE),
        "model": {"refId": ref_id, **copy.deepcopy(model)},
    }


def _uid(alert: Alert) -> str:
    # At most 40 characters of letters, digits, - and _; the same for the same alert.
    name = "-".join((alert.name, *(value for _, value in alert.labels)))
    return f"sidelight-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
