"""Labels in the catalog against those that the collector and the instrumentation really set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from sidelight import conventions as names
from sidelight.collector.app.delivery_metrics import DeliveryMetrics
from sidelight.collector.metrics.histogram import Histogram
from sidelight.collector.metrics.instruments import Counter, Gauge
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.requests import RequestMetrics
from sidelight.collector.metrics.retrieval.metrics import RetrievalMetrics
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.sidelight import (
    DB_DURATION,
    PLUGIN,
    SIDELIGHT_METRICS,
    TOP_SCORE,
    label,
)
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.labels import CallLabels
from sidelight.instrumentation.vectordb.core.target import CallTarget
from sidelight.instrumentation.vllm.metrics import EngineMetrics
from support.sidelight_exposition import LABELS, PROMETHEUS_NAMES

BY_NAME = {PROMETHEUS_NAMES[metric.names[0].name]: metric for metric in SIDELIGHT_METRICS}


class RecordingRegistry(Registry):
    """A registry that remembers the labels each metric was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, set[str]] = {}

    def counter(self, metric: str, labels: Sequence[str] = ()) -> Counter:
        """Remembers a counter's labels."""
        self.made[metric] = set(labels)
        return super().counter(metric, labels)

    def gauge(self, metric: str, labels: Sequence[str] = ()) -> Gauge:
        """Remembers a gauge's labels."""
        self.made[metric] = set(labels)
        return super().gauge(metric, labels)

    def histogram(self, metric: str, labels: Sequence[str] = ()) -> Histogram:
        """Remembers a histogram's labels."""
        self.made[metric] = set(labels)
        return super().histogram(metric, labels)


@pytest.mark.parametrize("make", [RequestMetrics, RetrievalMetrics, DeliveryMetrics])
def test_labels_are_those_of_the_collectors_metrics(make: Callable[[Registry], object]) -> None:
    """A label added or renamed there must be here too, or filters and groupings miss it."""
    registry = RecordingRegistry()
    make(registry)
    made = {metric: labels for metric, labels in registry.made.items() if metric in BY_NAME}
    assert made
    assert made == {metric: set(BY_NAME[metric].labels) for metric in made}


def test_labels_are_those_of_the_plugins_metrics() -> None:
    """The engine's index comes with each data point, the model too where vLLM says it."""
    attributes: dict[str, str | int] = {names.ENGINE_INDEX: 0, names.REQUEST_MODEL: "tiny"}
    for point in EngineMetrics(attributes).data_points():
        if (metric := BY_NAME.get(point.metric)) is not None:
            assert metric.source is PLUGIN
            assert {label(name) for name in point.attributes} == set(metric.labels)


@pytest.mark.parametrize(
    ("metric", "others"),
    [
        (DB_DURATION, {names.ERROR_TYPE, names.DB_STATUS_CODE}),
        (TOP_SCORE, {names.VECTOR_FIELD}),
    ],
    ids=["duration", "top score"],
)
def test_labels_are_those_of_the_clients_metrics(metric: CatalogMetric, others: set[str]) -> None:
    """All that a wrapped client can say about a call, a failed one, and its scores."""
    call = DatabaseCall(Settings(), {})
    call.metric_type, call.ranker = "COSINE", "rrf"
    call.target = CallTarget(
        "milvus", "search", collection="docs", namespace="default", address="milvus", port=19530
    )
    attributes = {*CallLabels("milvus").of_call(call), *others}
    assert {label(name) for name in attributes} == set(metric.labels)


@pytest.mark.parametrize("metric", SIDELIGHT_METRICS, ids=lambda metric: metric.names[0].name)
def test_the_tests_exposition_has_the_same_labels(metric: CatalogMetric) -> None:
    """What queries are run against is like what is really exported."""
    exported = LABELS.get(PROMETHEUS_NAMES[metric.names[0].name], ({},))
    assert {name for labels in exported for name in labels} == set(metric.labels)
