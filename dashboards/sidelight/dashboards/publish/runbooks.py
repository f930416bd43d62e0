"""Fills in the generated parts of docs/runbooks: the facts of each alert, and the list of all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sidelight.dashboards.alerts.alert import Alert
from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.publish.files import rule_groups
from sidelight.dashboards.publish.markdown import replaced, table

INDEX: Final = "index.md"
_TEMPLATE: Final = re.compile(r"\{\{.*?\$(?:labels\.)?(\w+).*?\}\}")


def alerts() -> Iterator[Alert]:
    """Every published alert."""
    for group in rule_groups():
        yield from group.alerts


def fill(pages: Mapping[str, str]) -> dict[str, str]:
    """The pages by file name, with their generated parts replaced.

    Raises `ValueError` if an alert has no page, a page no alert, or a page lacks a mark.
    """
    # Each objective has alerts of the same names: the page shows the first.
    by_page = {f"{alert.runbook}.md": alert for alert in reversed([*alerts()])}
    if unmatched := by_page.keys() ^ (pages.keys() - {INDEX}):
        raise ValueError(f"alerts and pages of runbooks differ in {', '.join(sorted(unmatched))}")
    filled = {INDEX: replaced(pages[INDEX], "alerts", _list([*by_page.values()][::-1]))}
    for name, alert in by_page.items():
        filled[name] = replaced(pages[name], "alert", _facts(alert))
    return filled


def _list(all_alerts: Iterable[Alert]) -> Iterator[str]:
    cells = (
        (f"[{alert.name}]({alert.runbook}.md)", alert.severity, plain(alert.summary))
        for alert in all_alerts
    )
    return table(("alert", "severity", "it says"), cells)


def _facts(alert: Alert) -> Iterator[str]:
    metrics = dict.fromkeys(
        METRIC_BY_SERIES[series].shown_name if series in METRIC_BY_SERIES else series
        for series in alert.expression.metrics()
    )
    cells = (
        ("says", plain(alert.summary)),
        ("do first", alert.advice),
        ("severity", alert.severity),
        ("after", alert.wait if alert.wait != "0m" else "at once"),
        ("panel", alert.panel),
        ("metrics", ", ".join(f"`{metric}`" for metric in metrics)),
    )
    return table(("", ""), cells)


def plain(text: str) -> str:
    """A text with Prometheus's templates as names of what they show: `[value]`, `[instance]`."""
    return _TEMPLATE.sub(lambda template: f"[{template[1]}]", text)
