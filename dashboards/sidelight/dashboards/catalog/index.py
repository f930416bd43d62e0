"""The whole catalog, and which metric a series name belongs to."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog.dcgm import DCGM_METRICS
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.milvus import MILVUS_METRICS
from sidelight.dashboards.catalog.qdrant import QDRANT_METRICS
from sidelight.dashboards.catalog.sidelight import SIDELIGHT_METRICS
from sidelight.dashboards.catalog.vllm import PROCESS_START, UP, VLLM_METRICS

CATALOG: Final[tuple[CatalogMetric, ...]] = (
    *VLLM_METRICS,
    *SIDELIGHT_METRICS,
    *DCGM_METRICS,
    *MILVUS_METRICS,
    *QDRANT_METRICS,
    PROCESS_START,
    UP,
)

# Every name a series can have in Prometheus, to the metric it is one of.
METRIC_BY_SERIES: Final[dict[str, CatalogMetric]] = {
    series: metric for metric in CATALOG for series in metric.all_series
}
