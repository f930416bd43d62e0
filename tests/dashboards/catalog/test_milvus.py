"""Milvus's metrics in the catalog against what a real one was recorded to export."""

from __future__ import annotations

import pytest

from sidelight.collector.receivers.scrape.presets import PRESETS
from sidelight.collector.receivers.scrape.text_format import TextReader
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.milvus import MILVUS_METRICS
from support.milvus_exposition import RECORDED

FAMILIES = {sample.name: family for family in RECORDED for sample in family.samples}

each_metric = pytest.mark.parametrize(
    "metric", MILVUS_METRICS, ids=lambda metric: metric.shown_name
)


@each_metric
def test_it_is_exported_as_the_catalog_says(metric: CatalogMetric) -> None:
    """Every series by its name, and the kind that Milvus declares."""
    for series in metric.all_series:
        assert FAMILIES[series].kind == metric.kind


@each_metric
def test_labels_are_those_of_the_recording(metric: CatalogMetric) -> None:
    """Each is there; a newer Milvus may add some."""
    samples = FAMILIES[min(metric.all_series)].samples
    recorded = {label for sample in samples for label, _ in sample.labels}
    assert set(metric.labels) <= recorded


@each_metric
def test_the_scrape_preset_keeps_it(metric: CatalogMetric) -> None:
    """What a panel shows arrives through the collector too."""
    series = min(metric.all_series)
    reader = TextReader({}, PRESETS["milvus"].families)
    assert reader.read(f"{series} 1\n", openmetrics=False), series
