"""Metrics received by OTLP, kept as their latest state and shown by Prometheus's rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from sidelight import conventions
from sidelight.collector.metrics.family import Family, FamilyType, Series, labels_text
from sidelight.collector.metrics.received_series import LatePointError, ReceivedSeries
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.snapshot import FamilySnapshot, SeriesSnapshot
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.prometheus.values import NumberValue
from sidelight.otlp.prometheus.walk import Fault, MetricSeries, Point, walk

# Text of the labels of one series; with the cap on series this bounds what senders can make us
# keep.
_MAX_LABELS_CHARACTERS = 2048
_MAX_HELP_CHARACTERS = 512
_SWEEP_SECONDS = 15.0
_TARGET_HELP = "Attributes of the resources that send by OTLP."
# The plugin of vLLM names itself as its SDK, in labels of `target_info`.
_PLUGIN = "sidelight"
_SDK_NAME = label_name(conventions.TELEMETRY_SDK_NAME)
_PLUGIN_LABELS = (
    "instance",
    "job",
    label_name(conventions.SERVICE_VERSION),
    label_name(conventions.TELEMETRY_SDK_VERSION),
)


class _DroppedPointError(Exception):
    """A point that is not kept; `reason` is a label value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _ReceivedFamily:
    type: FamilyType
    help: str
    series: dict[str, ReceivedSeries] = field(default_factory=dict)


@dataclass(slots=True)
class _Target:
    """The labels of a resource's `target_info`, and when the resource last sent."""

    labels: str
    seen: float
    resource: dict[str, str]


@dataclass(frozen=True, slots=True)
class ReportingPlugin:
    """A process of vLLM's plugin; `seen` is when it last sent, on the clock of its keeper."""

    instance: str
    service: str
    vllm: str
    sidelight: str
    seen: float


class ReceivedMetrics:
    """The latest state of every received series; a `Source`. Not for use by several threads.

    Series are told apart by `job` and `instance` (from the resource), scope and attributes.
    A series without an update for `stale_seconds` goes; beyond `max_series` new ones are
    refused and counted, as is every point that cannot be shown.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        max_series: int = 10_000,
        stale_seconds: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_series = max_series
        self._stale_seconds = stale_seconds
        self._clock = clock
        # By name and type: which type of a name is shown is decided for the whole page, and a
        # metric of a type that is hidden there must not keep others out here.
        self._families: dict[tuple[str, str], _ReceivedFamily] = {}
        self._targets: dict[str, _Target] = {}
        self._count = 0
        self._swept = clock()
        self._dropped = registry.counter(conventions.COLLECTOR_METRIC_POINTS_DROPPED, ("reason",))
        registry.gauge(conventions.COLLECTOR_METRIC_SERIES).set_function(lambda: self._count)

    def ingest(self, request: ExportMetricsServiceRequest) -> None:
        """Take in one export request; what cannot be kept is counted by reason, never raised."""
        now = self._clock()
        if now - self._swept > _SWEEP_SECONDS:
            self._sweep(now)
        for resource in walk(request):
            is_kept = False
            for metric in resource.metrics:
                is_kept |= self._ingest(metric, now)
            target, info = labels_text(resource.identity), labels_text(resource.info)
            if is_kept and target and info and len(info) + len(target) < _MAX_LABELS_CHARACTERS:
                attributes = resource.identity | resource.info
                self._targets[target] = _Target(f"{target},{info}", now, attributes)

    def newest_plugin(self) -> ReportingPlugin | None:
        """The plugin of vLLM that sent last; None if none has sent for `stale_seconds`."""
        newest = None
        for target in self._targets.values():
            if target.resource.get(_SDK_NAME) == _PLUGIN and (
                newest is None or target.seen > newest.seen
            ):
                newest = target
        if newest is None:
            return None
        instance, service, vllm, sidelight = (
            newest.resource.get(label, "?") for label in _PLUGIN_LABELS
        )
        return ReportingPlugin(instance, service, vllm, sidelight, newest.seen)

    def families(self) -> Iterable[Family]:
        """All live series, and `target_info` for the resources they came from."""
        self._sweep(self._clock())
        # First, so that no sender's metric of that name takes its place.
        if self._targets:
            info = [Series(target.labels, NumberValue(1)) for target in self._targets.values()]
            yield Family("target", "info", _TARGET_HELP, info)
        for (name, _), family in self._families.items():
            series = [Series(labels, kept.value) for labels, kept in family.series.items()]
            yield Family(name, family.type, family.help, series)

    def snapshot(self) -> Iterable[FamilySnapshot]:
        """What `families` shows, with what it takes to merge it with other workers'."""
        self._sweep(self._clock())
        if self._targets:
            info = [
                SeriesSnapshot(
                    Series(target.labels, NumberValue(1)), "target", target.seen, is_delta=False
                )
                for target in self._targets.values()
            ]
            yield FamilySnapshot("target", "info", _TARGET_HELP, info)
        for (name, _), family in self._families.items():
            series = [
                SeriesSnapshot(Series(labels, kept.value), kept.metric, kept.seen, kept.is_delta)
                for labels, kept in family.series.items()
            ]
            yield FamilySnapshot(name, family.type, family.help, series)

    def _ingest(self, metric: MetricSeries, now: float) -> bool:
        """Whether any point of the metric was kept."""
        is_kept = False
        for point in metric.points:
            try:
                self._keep(metric, point, now)
                is_kept = True
            except _DroppedPointError as dropped:
                self._dropped.labels(dropped.reason).inc()
        return is_kept

    def _keep(self, metric: MetricSeries, point: Point | Fault, now: float) -> None:
        if isinstance(point, Fault):
            raise _DroppedPointError(point.reason)
        labels = labels_text(point.labels)
        if len(labels) > _MAX_LABELS_CHARACTERS:
            raise _DroppedPointError("labels_too_long")
        key = metric.name, metric.kind
        family = self._families.get(key)
        if family is None:
            if point.has_ended:
                return
            type_ = cast(FamilyType, metric.kind)
            family = _ReceivedFamily(type_, metric.help[:_MAX_HELP_CHARACTERS])
        series = family.series.get(labels)
        if point.has_ended:
            if series is not None:
                del family.series[labels]
                self._count -= 1
                if not family.series:
                    del self._families[key]
        elif series is not None:
            # Two metrics whose names differ only in characters that Prometheus does not allow, such
            # as `a.b` and `a_b`: in one series their values would alternate.
            if series.metric != metric.metric:
                raise _DroppedPointError("name_conflict")
            try:
                series.update(point, is_delta=metric.is_delta, seen=now)
            except LatePointError:
                raise _DroppedPointError("late") from None
        elif self._count < self._max_series:
            family.series[labels] = ReceivedSeries(
                point, metric=metric.metric, is_delta=metric.is_delta, seen=now
            )
            self._families[key] = family
            self._count += 1
        else:
            raise _DroppedPointError("series_limit")

    def _sweep(self, now: float) -> None:
        self._swept = now
        oldest = now - self._stale_seconds
        for key, family in list(self._families.items()):
            stale = [labels for labels, series in family.series.items() if series.seen < oldest]
            for labels in stale:
                del family.series[labels]
            self._count -= len(stale)
            if not family.series:
                del self._families[key]
        for labels, target in list(self._targets.items()):
            if target.seen < oldest:
                del self._targets[labels]
