"""Where the links of alerts and panels lead."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidelight.dashboards.alerts.alert import Alert
from sidelight.dashboards.alerts.published import alert_groups
from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.panels.panel import Panel, Row
from sidelight.dashboards.slo import burn_rates
from sidelight.dashboards.slo.objective import read_objectives

# Grafana puts in the time range and every variable of the board that is open.
_SAME_SELECTION: Final = "${__url_time_range}&${__all_variables}"


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses of Grafana and of the site of docs/, which links begin with.

    Without an address an alert's link has the path alone, and panels have no link to a runbook.
    """

    grafana: str = ""
    docs: str = ""


@dataclass(frozen=True, slots=True)
class PanelLink:
    """One entry of a panel's menu of links."""

    title: str
    url: str
    opens_tab: bool = False


def runbook_url(alert: Alert, links: Links) -> str:
    """The page of an alert: on the site of docs/, or its path in the repository."""
    if not links.docs:
        return f"docs/runbooks/{alert.runbook}.md"
    return f"{links.docs.rstrip('/')}/runbooks/{alert.runbook}.html"


def panel_links(board: Board, row: Row, panel: Panel, links: Links) -> Iterator[PanelLink]:
    """The traces of a panel with exemplars, the board on its row, and runbooks of its alerts."""
    if any(query.exemplars for query in panel.queries):
        yield PanelLink("Traces", "${traces}", opens_tab=True)
    topic = _board_on(row.title)
    if topic.uid != board.uid:
        yield PanelLink(f"More: {topic.title}", f"/d/{topic.uid}?{_SAME_SELECTION}")
    if links.docs:
        for alert in alerts_on(panel.title):
            yield PanelLink(f"Runbook: {alert.name}", runbook_url(alert, links), opens_tab=True)


def _board_on(row: str) -> Board:
    """The board on the topic of a row: the last one that has it, since the overview is first."""
    return [board for board in BOARDS if any(one.title == row for one in board.rows)][-1]


@functools.cache
def alerts_on(panel: str) -> tuple[Alert, ...]:
    """The alerts that a panel shows, each once: an objective's are there for every objective."""
    groups = (*alert_groups(), burn_rates.group(read_objectives()))
    named = {alert.name: alert for group in groups for alert in group.alerts}
    return tuple(alert for alert in named.values() if alert.panel == panel)
