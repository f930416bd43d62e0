"""vLLM's names in the catalog against the recorded history and a recorded exposition."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from sidelight.dashboards.catalog.metric import CatalogMetric, MetricName
from sidelight.dashboards.catalog.vllm import (
    CACHE_CONFIG,
    KV_USAGE,
    RECORDED_VERSIONS,
    VLLM_METRICS,
    exports,
)
from support.paths import TESTS
from support.vllm_exposition import history, recording

HISTORY = history()
RECORDED = {family.name: family for family in recording("metrics-0.32-load.txt")}
# vLLM defines it by the configuration's class, not by the stat logger.
FROM_ELSEWHERE = (CACHE_CONFIG,)
NAMES = [name for metric in VLLM_METRICS for name in metric.names]


def _newest_name(metric: CatalogMetric) -> str:
    return metric.names[0].name


each_metric = pytest.mark.parametrize("metric", VLLM_METRICS, ids=_newest_name)


def test_the_catalog_knows_the_recorded_releases() -> None:
    """Every recorded release, in order."""
    assert tuple(HISTORY) == RECORDED_VERSIONS


@pytest.mark.parametrize("version", RECORDED_VERSIONS)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.name)
def test_names_are_valid_exactly_where_they_were_recorded(version: str, name: MetricName) -> None:
    """A name's first and last release are those of the history."""
    assert exports(version, name) == (name.name in HISTORY[version])


@pytest.mark.parametrize("version", RECORDED_VERSIONS)
@each_metric
def test_a_metric_that_is_there_stays(version: str, metric: CatalogMetric) -> None:
    """From the first release that exports it, no recorded one is without a name for it."""
    oldest = metric.names[-1].first or RECORDED_VERSIONS[0]
    is_there = RECORDED_VERSIONS.index(version) >= RECORDED_VERSIONS.index(oldest)
    assert any(exports(version, name) for name in metric.names) == is_there


@each_metric
def test_kinds_are_those_of_the_recording(metric: CatalogMetric) -> None:
    """Counter, gauge or histogram as vLLM really declares it."""
    assert RECORDED[f"vllm:{_newest_name(metric)}"].kind == metric.kind


@each_metric
def test_labels_are_those_of_the_recording(metric: CatalogMetric) -> None:
    """A filter or a grouping by a label that a metric lacks would silently do nothing."""
    samples = RECORDED[f"vllm:{_newest_name(metric)}"].samples
    recorded = {label for sample in samples for label, _ in sample.labels}
    if metric is CACHE_CONFIG:
        assert set(metric.labels) < recorded
        assert "model_name" not in recorded
    else:
        assert recorded - {"le"} == set(metric.labels)


@each_metric
def test_the_newest_names_are_in_the_source_of_0_33(metric: CatalogMetric) -> None:
    """Which is not recorded: its wheel was read for names."""
    in_source = (TESTS / "data" / "vllm" / "metric-names-0.33.txt").read_text().split()
    suffix = "_total" if metric.kind == "counter" else ""
    assert {f"vllm:{_newest_name(metric)}{end}" for end in ("", suffix)} & set(in_source)


# What the stat logger of 0.33 defines; the configuration of the cache is its labels.
SOURCE_0_33: dict[str, dict[str, Any]] = json.loads(
    (TESTS / "data" / "vllm" / "metrics-0.33.json").read_text()
)
each_defined = pytest.mark.parametrize(
    "metric", [metric for metric in VLLM_METRICS if metric not in FROM_ELSEWHERE], ids=_newest_name
)


@each_defined
def test_kinds_labels_and_bounds_are_those_of_the_source_of_0_33(metric: CatalogMetric) -> None:
    """A label that went, or a bound that an objective needs, is noticed before it is recorded."""
    defined = SOURCE_0_33[f"vllm:{_newest_name(metric)}"]
    assert (defined["kind"], set(defined["labels"])) == (metric.kind, set(metric.labels))
    if metric.buckets:
        assert tuple(defined["buckets"]) == metric.buckets


@each_defined
def test_bounds_of_0_33_are_those_that_were_recorded(metric: CatalogMetric) -> None:
    """Of 0.32; what a heatmap or a quantile shows does not jump with the upgrade."""
    name = f"vllm:{_newest_name(metric)}"
    if bounds := SOURCE_0_33[name].get("buckets"):
        recorded = {
            float(value)
            for sample in RECORDED[name].samples
            for label, value in sample.labels
            if label == "le"
        }
        assert recorded == {*bounds, math.inf}


@each_metric
def test_units_are_those_of_the_names(metric: CatalogMetric) -> None:
    """What vLLM calls seconds is in seconds, and a gauge called perc is a share."""
    name = _newest_name(metric)
    assert (metric.unit == "s") == name.endswith("_seconds")
    assert (metric.unit == "1") == name.endswith("_perc")


def test_names_run_from_newest_to_oldest() -> None:
    """Where a release has two names, the one that lives on is preferred."""
    for metric in VLLM_METRICS:
        lasts = [RECORDED_VERSIONS.index(name.last or "0.32.0") for name in metric.names]
        assert lasts == sorted(lasts, reverse=True)


def test_an_unknown_release_is_an_error() -> None:
    """The catalog does not guess about releases that were never recorded."""
    with pytest.raises(ValueError, match=r"vLLM 1\.0\.0 is not recorded; 0\.8\.5, "):
        exports("1.0.0", KV_USAGE.names[0])
