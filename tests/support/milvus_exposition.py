"""What a real Milvus 2.3.5 was recorded to export, of what the catalog knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sidelight.dashboards.catalog.milvus import MILVUS_METRICS
from support.paths import DATA
from support.vllm_exposition import Exposition, Family, recorded_families

_KNOWN: Final = frozenset(series for metric in MILVUS_METRICS for series in metric.all_series)


def _as_exported(family: Family) -> Family:
    """prometheus_client reads a counter as if it had `_total`, which Go's client does not write."""
    if family.kind != "counter" or f"{family.name}_total" in _KNOWN:
        return family
    return replace(
        family, samples=tuple(replace(sample, name=family.name) for sample in family.samples)
    )


RECORDED: Final[Exposition] = tuple(
    family
    for family in map(
        _as_exported,
        recorded_families((DATA / "vectordb" / "milvus-2.3.5-metrics.txt").read_text()),
    )
    if any(sample.name in _KNOWN for sample in family.samples)
)
