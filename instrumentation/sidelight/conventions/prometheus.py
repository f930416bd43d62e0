"""The names of metrics in Prometheus."""

from __future__ import annotations

from sidelight.conventions.definitions import METRICS


def prometheus_name(metric: str) -> str:
    """The Prometheus name of a metric defined here, without `_total`, `_bucket` and the like.

    Dots become underscores and the unit is spelled out as a suffix, as OpenTelemetry's
    Prometheus compatibility specification has it: `sidelight.collector.lag` in seconds is
    `sidelight_collector_lag_seconds`; annotations in braces add nothing; a ratio ("1")
    adds `_ratio` to gauges only.

    Raises `KeyError` if no module of this package defines the metric.
    """
    definition = METRICS[metric]
    suffix = {"s": "_seconds", "By": "_bytes"}.get(definition.unit, "")
    if definition.unit == "1" and definition.instrument == "gauge":
        suffix = "_ratio"
    return metric.replace(".", "_") + suffix
