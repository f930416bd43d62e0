"""Which metrics of the catalog a panel reads."""

from __future__ import annotations

from collections.abc import Sequence

from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.panels.panel import Panel


def panel_metrics(panel: Panel) -> Sequence[CatalogMetric]:
    """Each once, in the order they are read."""
    metrics = (
        METRIC_BY_SERIES[series] for query in panel.queries for series in query.expression.metrics()
    )
    # Metrics have no hash, but a name of their own.
    return list({metric.shown_name: metric for metric in metrics}.values())
