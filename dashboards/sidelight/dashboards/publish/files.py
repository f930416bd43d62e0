"""Renders boards and rules and writes them, with a data source, for Grafana and Prometheus."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sidelight.dashboards.alerts.alert import AlertGroup
from sidelight.dashboards.alerts.published import alert_groups
from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.publish.check import require_defined
from sidelight.dashboards.publish.config_maps import CONFIG_MAPS_FILE, config_maps
from sidelight.dashboards.publish.datasource import (
    DATASOURCE,
    DATASOURCE_FILE,
    PROVIDER,
    PROVIDER_FILE,
)
from sidelight.dashboards.publish.grafana import dashboard
from sidelight.dashboards.publish.grafana_alerts import GRAFANA_ALERTS_FILE, grafana_alerts
from sidelight.dashboards.publish.grafana_v2 import dashboard_v2
from sidelight.dashboards.publish.links import Links
from sidelight.dashboards.publish.metric_prefix import with_prefix
from sidelight.dashboards.publish.rules import (
    PROMETHEUS_RULE_FILE,
    RULE_FILE,
    prometheus_rule,
    rule_document,
)
from sidelight.dashboards.publish.sdk import JSONEncoder
from sidelight.dashboards.publish.yaml_text import yaml_text
from sidelight.dashboards.slo import burn_rates
from sidelight.dashboards.slo.objective import Objective, read_objectives
from sidelight.dashboards.view import View

# v1 is what every Grafana reads; v2 is for Grafana 13 and later.
Schema = Literal["v1", "v2"]


def rule_groups(
    objectives: Sequence[Objective] | None = None, view: View | None = None
) -> tuple[AlertGroup, ...]:
    """All rules; those of the objectives in `slo/slo.yaml` if none are given.

    `view` says which series they are about, all if it is left out.
    """
    narrowed = [
        dataclasses.replace(
            objective, filters={**(view.filters if view else {}), **objective.filters}
        )
        for objective in objectives or read_objectives()
    ]
    return (*alert_groups(view), burn_rates.group(narrowed))


def render(
    links: Links | None = None,
    objectives: Sequence[Objective] | None = None,
    metric_prefix: str = "",
    schema: Schema = "v1",
) -> dict[str, str]:
    """Every file by its name; the same input, the same bytes.

    `metric_prefix` stands before vLLM's names in this Prometheus, `schema` is that of the boards.

    Raises `UndefinedMetricError` if a board or an alert reads a metric that is not in the catalog.
    """
    groups = rule_groups(objectives)
    require_defined(BOARDS, groups)
    rules = rule_document(groups, links)
    boards = render_boards(links)
    files = {
        **(boards if schema == "v1" else render_boards(links, schema)),
        # The sidecar provisions files, and Grafana 13.0 refuses v2 there.
        # https://github.com/grafana/grafana/issues/127928
        CONFIG_MAPS_FILE: config_maps(boards),
        DATASOURCE_FILE: DATASOURCE,
        PROVIDER_FILE: PROVIDER,
        GRAFANA_ALERTS_FILE: yaml_text(grafana_alerts(groups, links)),
        RULE_FILE: yaml_text(rules),
        PROMETHEUS_RULE_FILE: yaml_text(prometheus_rule(rules)),
    }
    return {name: with_prefix(text, metric_prefix) for name, text in files.items()}


def render_boards(links: Links | None = None, schema: Schema = "v1") -> dict[str, str]:
    """Every board as JSON, by file name."""
    return {f"{board.uid}.json": _board_json(board, links, schema) for board in BOARDS}


def _board_json(board: Board, links: Links | None, schema: Schema) -> str:
    text = json.dumps(
        dashboard(board, links), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False
    )
    if schema == "v2":
        document = dashboard_v2(json.loads(text))
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    return f"{text}\n"


def write(
    directory: Path,
    links: Links | None = None,
    objectives: Sequence[Objective] | None = None,
    metric_prefix: str = "",
    schema: Schema = "v1",
) -> list[Path]:
    """Write every file to `directory`, creating it, and return the paths.

    Each file is replaced atomically, so that nobody reads half of one. Raises `OSError` if the
    folder cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in render(links, objectives, metric_prefix, schema).items():
        path = directory / name
        partial = path.with_name(f".{name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        written.append(path)
    return written
