"""The names of GPU metrics in the catalog against NVIDIA's own lists of counters."""

from __future__ import annotations

import pytest

from sidelight.dashboards.catalog.dcgm import DCGM_METRICS, PROFILING
from sidelight.dashboards.catalog.metric import CatalogMetric
from support.paths import DATA


def _listed(name: str) -> dict[str, str]:
    """Each metric of a list, with its type."""
    lines = (DATA / "dcgm" / name).read_text().splitlines()
    return dict(line.split() for line in lines if not line.startswith("#"))


DEFAULT = _listed("default-counters.txt")
WITH_PROFILING = _listed("dcp-metrics-included.txt")


@pytest.mark.parametrize("metric", DCGM_METRICS, ids=lambda metric: metric.shown_name)
def test_it_is_in_the_list_that_the_catalog_says(metric: CatalogMetric) -> None:
    """In both lists, or in that with profiling alone; there as the kind that the catalog has."""
    assert WITH_PROFILING[metric.shown_name] == metric.kind
    assert metric.needs == ("" if metric.shown_name in DEFAULT else PROFILING)
