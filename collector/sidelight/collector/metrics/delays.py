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

CAUSES = ("queue", "prefill", "decode", "interference", "preemption", "outside")
_MAX_LABEL_SETS = 64
_LABELS = (label_name(c.SERVICE_NAME), label_name(c.REQUEST_MODEL))


def causes(span: SpanRecord) -> dict[str, float]:
    """Seconds by cause; their sum is the span's duration. Empty where the engine told nothing.

    `interference` is the share of the decode steps that also carried other requests' prompts;
    `preemption` is all of the decode time of a request that was preempted, the wait for its
    place and the prompt worked on again included, because the engine does not tell them apart.
    `outside` is what the engine does not know of: reading the request, tokenising, the network.
    """
    attributes = span.attributes
    queue, prefill = _number(attributes, c.QUEUE_TIME), _number(attributes, c.PREFILL_TIME)
    decode = _number(attributes, c.DECODE_TIME)
    # Without them all of the time would be blamed on what is outside the engine.
    if queue is None or prefill is None:
        return {}
    parts = dict.fromkeys(CAUSES, 0.0)
    parts["queue"], parts["prefill"] = queue, prefill
    if (_number(attributes, c.PREEMPTIONS) or 0) > 0:
        parts["preemption"] = decode or 0.0
    else:
        disturbed = (decode or 0.0) * _share(attributes)
        parts["interference"] = disturbed
        parts["decode"] = (decode or 0.0) - disturbed
    inside = sum(parts.values())
    if inside > span.seconds > 0:
        # Several sequences each at their slowest, or clocks that differ.
        parts = {cause: seconds * span.seconds / inside for cause, seconds in parts.items()}
    else:
        parts["outside"] = max(0.0, span.seconds - inside)
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


def _share(attributes: Attributes) -> float:
    """How much of the decode steps also carried others' prompts, between 0 and 1."""
    steps, shared = _number(attributes, c.STEPS), _number(attributes, c.STEPS_WITH_PREFILL)
    return min(1.0, shared / steps) if steps and shared else 0.0


def _number(attributes: Attributes, name: str) -> float | None:
    """An attribute that is a number from zero."""
    value = attributes.get(name)
    # To Python a bool is a number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and value >= 0 else None
