"""Where the time of a served request went, by cause: from what the engine told of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from sidelight import conventions as c
from sidelight.collector.metrics.config import Usage as Options
from sidelight.collector.metrics.histogram import HistogramSeries
from sidelight.collector.metrics.instruments import CounterSeries
from sidelight.collector.metrics.labels import OTHER, LabelValues, text
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import Attributes, SpanRecord

CAUSES = tuple(c.DELAY_SECONDS)
_MAX_LABEL_SETS = 64
_LABELS = (label_name(c.SERVICE_NAME), label_name(c.REQUEST_MODEL))


def causes(span: SpanRecord) -> dict[str, float]:
    """Seconds by cause; their sum is the span's duration. Empty where the engine told nothing.

    The plugin finds the causes where the steps of the engine are known, and the span tells them.
    vLLM's own span has phases only: what is before and between them counts as `frontend`.
    """
    attributes = span.attributes
    told = {cause: _number(attributes, name) for cause, name in c.DELAY_SECONDS.items()}
    parts = {cause: seconds or 0.0 for cause, seconds in told.items()}
    if any(seconds is not None for seconds in told.values()):
        return parts
    queue, prefill = _number(attributes, c.QUEUE_TIME), _number(attributes, c.PREFILL_TIME)
    # Without them all of the time would be blamed on the frontend.
    if queue is None or prefill is None:
        return {}
    parts["queue"], parts["prefill"] = queue, prefill
    parts["decode"] = _number(attributes, c.DECODE_TIME) or 0.0
    inside = sum(parts.values())
    if inside > span.seconds > 0:
        # Clocks that differ.
        return {cause: seconds * span.seconds / inside for cause, seconds in parts.items()}
    parts["frontend"] = max(0.0, span.seconds - inside)
    return parts


class _DelaySeries(NamedTuple):
    by_cause: dict[str, HistogramSeries]
    preemptions: CounterSeries


class DelayMetrics:
    """Observes served requests; labels are bounded, and values beyond the bound are `other`."""

    def __init__(self, registry: Registry, options: Options | None = None) -> None:
        self._delay = registry.histogram(c.REQUEST_DELAY, (*_LABELS, label_name(c.DELAY_CAUSE)))
        self._preemptions = registry.counter(c.REQUEST_PREEMPTIONS, _LABELS)
        self._services = LabelValues(_MAX_LABEL_SETS)
        self._models = LabelValues(_MAX_LABEL_SETS, (options or Options()).models)
        self._series: dict[tuple[str, str], _DelaySeries] = {}

    def observe(self, service: str, span: SpanRecord) -> None:
        """Count a served request, if the engine told of it."""
        parts = causes(span)
        if not parts:
            return
        series = self._series_of(service, span)
        for cause, seconds in parts.items():
            if seconds > 0:
                series.by_cause[cause].observe(seconds, span.trace_id, span.span_id)
        if count := _number(span.attributes, c.PREEMPTIONS):
            series.preemptions.inc(count, span.trace_id, span.span_id)

    def _series_of(self, service: str, span: SpanRecord) -> _DelaySeries:
        attributes = span.attributes
        model = text(attributes.get(c.REQUEST_MODEL)) or text(attributes.get(c.RESPONSE_MODEL))
        labels = (
            self._services.shown(service),
            # A failed request's model is whatever the client wrote: it must not use up the label.
            self._models.shown(model, admit=not span.is_error),
        )
        series = self._series.get(labels)
        if series is None:
            is_full = len(self._series) >= _MAX_LABEL_SETS
            shown = (OTHER, OTHER) if is_full else labels
            series = _DelaySeries(
                {cause: self._delay.labels(*shown, cause) for cause in CAUSES},
                self._preemptions.labels(*shown),
            )
            if not is_full:
                self._series[labels] = series
        return series


def _number(attributes: Attributes, name: str) -> float | None:
    """An attribute that is a number from zero."""
    value = attributes.get(name)
    # To Python a bool is a number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and value >= 0 else None
