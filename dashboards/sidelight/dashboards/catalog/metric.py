"""What the catalog says about a metric: who exports it, its unit and labels, and its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
# What a query reads of a metric: its value (gauges), or one of the series Prometheus stores.
Part = Literal["value", "total", "bucket", "sum", "count"]
# What queries filter and group by, whatever label holds it in a given metric.
Dimension = Literal[
    "job",
    "namespace",
    "instance",
    "model",
    "engine",
    "collector",
    "database",
    "database_server",
    "collection",
]

# The label that query results carry for a dimension.
RESULT_LABELS: Final[Mapping[Dimension, str]] = {
    "job": "job",
    "namespace": "namespace",
    "instance": "instance",
    "model": "model_name",
    "engine": "engine",
    "collector": "instance",
    "database": "db_system_name",
    "database_server": "instance",
    "collection": "db_collection_name",
}

PARTS: Final[Mapping[Kind, tuple[Part, ...]]] = {
    "gauge": ("value",),
    "counter": ("total",),
    "histogram": ("bucket", "sum", "count"),
}

# Prometheus adds these to every series it scrapes; the namespace only on Kubernetes.
_TARGET_LABELS: Final = ("job", "instance", "namespace")


@dataclass(frozen=True, slots=True)
class MetricName:
    """One name of a metric and the first and last release that exports it; None: no bound.

    Without prefix and without `_total`, `_bucket` and the like.
    """

    name: str
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class MetricSource:
    """Who exports metrics: the prefixes of their names, and the label of each dimension.

    Prefixes of one group never occur on one target with otherwise equal labels; those of
    different groups can. `counter_suffix` is what its counters end in: Go's client does not add
    `_total`.
    """

    title: str
    dimensions: Mapping[Dimension, str]
    prefixes: tuple[tuple[str, ...], ...] = (("",),)
    counter_suffix: str = "_total"


@dataclass(frozen=True, slots=True)
class CatalogMetric:
    """One metric, whatever it is called: `names` run from newest to oldest.

    `unit` is UCUM as in OpenTelemetry (`s`, `By`, `1` for a share, `{token}`). `labels` are
    those the exporter sets; a histogram's `le` and the target's `job` and `instance` come on
    top. `buckets` are the finite bounds of a histogram, where an objective may need one. A metric
    that `begins_with_event` has no series before the first event that it counts. One that `needs`
    an option is exported with it alone.
    """

    source: MetricSource
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...]
    names: tuple[MetricName, ...]
    buckets: tuple[float, ...] = ()
    begins_with_event: bool = False
    needs: str = ""

    def label(self, dimension: Dimension) -> str | None:
        """The label that holds a dimension in this metric, or None if it has none."""
        label = self.source.dimensions.get(dimension)
        return label if label in (*self.labels, *_TARGET_LABELS) else None

    @property
    def shown_name(self) -> str:
        """The newest name, with a counter's `_total` but without a histogram's three parts."""
        return self.series_names("total" if self.kind == "counter" else "value")[0][0]

    @property
    def all_series(self) -> frozenset[str]:
        """Every name that one of its series can have."""
        return frozenset(
            series
            for part in PARTS[self.kind]
            for group in self.series_names(part)
            for series in group
        )

    def series_names(self, part: Part) -> tuple[tuple[str, ...], ...]:
        """Every series name, in groups: only names of different groups can be one series.

        The newest name comes first.
        """
        suffix = {"value": "", "total": self.source.counter_suffix}.get(part, f"_{part}")
        return tuple(
            tuple(f"{prefix}{name.name}{suffix}" for prefix in group)
            for name in self.names
            for group in self.source.prefixes
        )
