"""Qdrant's metrics in the catalog against the names in its source."""

from __future__ import annotations

import pytest

from sidelight.collector.receivers.scrape.presets import PRESETS
from sidelight.collector.receivers.scrape.text_format import TextReader
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.qdrant import QDRANT_METRICS
from support.paths import DATA
from support.qdrant_exposition import FROM_SOURCE

IN_SOURCE = (DATA / "vectordb" / "qdrant-metric-names.txt").read_text()
FAMILIES = {family.name: family for family in FROM_SOURCE}

each_metric = pytest.mark.parametrize(
    "metric", QDRANT_METRICS, ids=lambda metric: metric.shown_name
)


@each_metric
def test_it_is_in_the_source(metric: CatalogMetric) -> None:
    """By its name, or as `grpc_responses_{…}_duration_seconds` stands for several."""
    name = metric.shown_name.replace("grpc_responses_duration", "rest_responses_duration")
    assert name in IN_SOURCE


@each_metric
def test_labels_of_the_tests_exposition_are_those_of_the_catalog(metric: CatalogMetric) -> None:
    """What queries are run against is like what the source says."""
    samples = FAMILIES[metric.names[0].name].samples
    labels = {label for sample in samples for label, _ in sample.labels} - {"le"}
    assert labels == set(metric.labels)


@each_metric
def test_the_scrape_preset_keeps_it(metric: CatalogMetric) -> None:
    """What a panel shows arrives through the collector too."""
    series = min(metric.all_series)
    reader = TextReader({}, PRESETS["qdrant"].families)
    assert reader.read(f"{series} 1\n", openmetrics=False), series
