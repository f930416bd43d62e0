"""Request histograms (OpenTelemetry's GenAI server metrics) made from spans, with exemplars."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from sidelight import conventions
from sidelight.collector.metrics.histogram import HistogramSeries
from sidelight.collector.metrics.labels import OTHER, LabelValues, text
from sidelight.collector.metrics.recent import RecentKeys
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import AttributeValue, SpanRecord

_MAX_SERVICES = 64
_RECENT_REQUESTS = 8192
# After this long without a span of its plugin a service counts as having none.
_PLUGIN_SECONDS = 600.0
# One label set of all three histograms is about 50 lines and 5 kB.
_MAX_LABEL_SETS = 500
_MAX_FAILED_LABEL_SETS = 250

_SUCCESS_LABELS = (
    label_name(conventions.SERVICE_NAME),
    label_name(conventions.OPERATION),
    label_name(conventions.REQUEST_MODEL),
)
_LABELS = (*_SUCCESS_LABELS, label_name(conventions.ERROR_TYPE))


class _RequestSeries(NamedTuple):
    duration: HistogramSeries
    ttft: HistogramSeries
    tpot: HistogramSeries


class RequestMetrics:
    """Observes request spans; every label is bounded, and values beyond the bound are `other`.

    A request is counted once. Where both Sidelight's plugin and vLLM's own tracer report,
    the plugin's SERVER span is the one that counts, because it knows model, operation and
    errors; the engine's span counts for services that have no plugin.
    """

    def __init__(self, registry: Registry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._duration = registry.histogram(conventions.SERVER_REQUEST_DURATION, _LABELS)
        self._ttft = registry.histogram(conventions.SERVER_TTFT, _SUCCESS_LABELS)
        self._tpot = registry.histogram(conventions.SERVER_TPOT, _SUCCESS_LABELS)
        self._services = LabelValues(_MAX_SERVICES)
        self._operations = LabelValues(16)
        self._models = LabelValues(64)
        self._errors = LabelValues(32)
        self._series: dict[tuple[str, str, str, str], _RequestSeries] = {}
        # Hashes, because the client chooses the id of its request, of whatever length.
        self._recent_requests: RecentKeys[int, None] = RecentKeys(_RECENT_REQUESTS)
        self._plugin_seen: RecentKeys[int, float] = RecentKeys(_MAX_SERVICES)

    def observe(self, service: str, span: SpanRecord, *, from_engine: bool = False) -> bool:
        """Count one request: the plugin's SERVER span, or with `from_engine` vLLM's own span.

        `service` is the resource's service.name. Returns whether it counted: not where the
        request was counted before.
        """
        now = self._clock()
        if not from_engine:
            self._plugin_seen.put(hash(service), now)
        else:
            seen_at = self._plugin_seen.get(hash(service))
            if seen_at is not None and now - seen_at < _PLUGIN_SECONDS:
                return False
        request_id = span.attributes.get(conventions.ENGINE_REQUEST_ID)
        if isinstance(request_id, str) and not self._is_first(service, request_id):
            return False
        self._count(service, span)
        return True

    def _is_first(self, service: str, request_id: str) -> bool:
        key = hash((service, request_id))
        if key in self._recent_requests:
            return False
        self._recent_requests.put(key, None)
        return True

    def _count(self, service: str, span: SpanRecord) -> None:
        attributes = span.attributes
        error = text(attributes.get(conventions.ERROR_TYPE)) or ("_OTHER" if span.is_error else "")
        model = attributes.get(conventions.REQUEST_MODEL) or attributes.get(
            conventions.RESPONSE_MODEL
        )
        labels = (
            self._services.shown(service),
            self._operations.shown(text(attributes.get(conventions.OPERATION))),
            # A failed request's model is whatever the client wrote: it must not use up the label.
            self._models.shown(text(model), admit=not error),
            self._errors.shown(error),
        )
        series = self._series_of(labels)
        series.duration.observe(span.seconds, span.trace_id, span.span_id)
        if not error:
            _observe(series.ttft, attributes.get(conventions.TIME_TO_FIRST_TOKEN), span)
            _observe(series.tpot, attributes.get(conventions.TIME_PER_OUTPUT_TOKEN), span)

    def _series_of(self, labels: tuple[str, str, str, str]) -> _RequestSeries:
        series = self._series.get(labels)
        if series is None:
            # Failures alone must not use up the label sets: each error type makes one more.
            most = _MAX_FAILED_LABEL_SETS if labels[3] else _MAX_LABEL_SETS
            is_full = len(self._series) >= most
            shown = (OTHER, OTHER, OTHER, OTHER if labels[3] else "") if is_full else labels
            series = _RequestSeries(
                self._duration.labels(*shown),
                self._ttft.labels(*shown[:3]),
                self._tpot.labels(*shown[:3]),
            )
            if not is_full:
                self._series[labels] = series
        return series


def _observe(series: HistogramSeries, seconds: AttributeValue, span: SpanRecord) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return
    if math.isfinite(seconds) and seconds >= 0:
        series.observe(seconds, span.trace_id, span.span_id)
