"""Where the time of a served request went, by cause: from what the engine told of it."""

from __future__ import annotations

import math

from sidelight import conventions as c
from sidelight.collector.metrics.config import Usage as Options
from sidelight.collector.metrics.histogram import Cell
from sidelight.collector.metrics.labels import OTHER, Allowed, text
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.values import Count
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import Attributes, SpanRecord

CAUSES = ("queue", "prefill", "decode", "interference", "preemption", "outside")
_MOST_LABEL_SETS = 64
_LABELS = (label_name(c.SERVICE_NAME), label_name(c.REQUEST_MODEL))


def causes(span: SpanRecord) -> dict[str, float]:
    """Seconds by cause; their sum is the span's duration. Empty where the engine told nothing.

    `interference` is the share of the decode steps that also carried other requests' prompts;
    `preemption` is all of the decode time of a request that was preempted, the wait for its
    place and the prompt worked on again included, because the engine does not tell them apart.
    `outside` is what the engine does not know of: reading the request, tokenising, the network.
    """
    found = span.attributes
    queue, prefill = _seconds(found, c.QUEUE_TIME), _seconds(found, c.PREFILL_TIME)
    decode = _seconds(found, c.DECODE_TIME)
    if queue is None or prefill is None:
        return {}
    parts = dict.fromkeys(CAUSES, 0.0)
    parts["queue"], parts["prefill"] = queue, prefill
    if (_seconds(found, c.PREEMPTIONS) or 0) > 0:
        parts["preemption"] = decode or 0.0
    else:
        disturbed = (decode or 0.0) * _share(found)
        parts["interference"] = disturbed
        parts["decode"] = (decode or 0.0) - disturbed
    inside = sum(parts.values())
    if inside > span.seconds > 0:
        # Several sequences each at their slowest, or clocks that differ.
        parts = {cause: seconds * span.seconds / inside for cause, seconds in parts.items()}
    else:
        parts["outside"] = max(0.0, span.seconds - inside)
    return parts


class Delays:
    """Observes served requests, each once; labels are bounded, the rest is `other`."""

    def __init__(self, registry: Registry, options: Options | None = None) -> None:
        self._delay = registry.histogram(c.REQUEST_DELAY, (*_LABELS, label_name(c.DELAY_CAUSE)))
        self._preemptions = registry.counter(c.REQUEST_PREEMPTIONS, _LABELS)
        self._services = Allowed(_MOST_LABEL_SETS)
        self._models = Allowed(_MOST_LABEL_SETS, (options or Options()).models)
        self._known: dict[tuple[str, str], tuple[dict[str, Cell], Count]] = {}

    def observe(self, service: str, span: SpanRecord) -> None:
        """Count a served request, if the engine told of it."""
        parts = causes(span)
        if not parts:
            return
        cells, preemptions = self._cells(service, span)
        for cause, seconds in parts.items():
            if seconds > 0:
                cells[cause].observe(seconds, span.trace_id, span.span_id)
        if count := _seconds(span.attributes, c.PREEMPTIONS):
            preemptions.inc(count, span.trace_id, span.span_id)

    def _cells(self, service: str, span: SpanRecord) -> tuple[dict[str, Cell], Count]:
        found = span.attributes
        model = text(found.get(c.REQUEST_MODEL)) or text(found.get(c.RESPONSE_MODEL))
        names = (self._services.of(service), self._models.of(model, admit=not span.is_error))
        known = self._known.get(names)
        if known is None:
            is_full = len(self._known) >= _MOST_LABEL_SETS
            kept = (OTHER, OTHER) if is_full else names
            known = (
                {cause: self._delay.labels(*kept, cause) for cause in CAUSES},
                self._preemptions.labels(*kept),
            )
            if not is_full:
                self._known[names] = known
        return known


def _share(found: Attributes) -> float:
    """How much of the decode steps also carried others' prompts, between 0 and 1."""
    steps, shared = _seconds(found, c.STEPS), _seconds(found, c.STEPS_WITH_PREFILL)
    return min(1.0, shared / steps) if steps and shared else 0.0


def _seconds(found: Attributes, name: str) -> float | None:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and value >= 0 else None
