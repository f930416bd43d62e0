"""Request histograms (OpenTelemetry's GenAI server metrics) made from spans, with exemplars."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from sidelight import conventions
from sidelight.collector.metrics.histogram import Cell
from sidelight.collector.metrics.labels import OTHER, Allowed, text
from sidelight.collector.metrics.recent import Recent
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import AttributeValue, SpanRecord

_MOST_SERVICES = 64
_RECENT_REQUESTS = 8192
# After this long without a span of its plugin a service counts as having none.
_PLUGIN_SECONDS = 600.0
# One label set of all three histograms is about 50 lines and 5 kB.
_MOST_LABEL_SETS = 500

_SUCCESS_LABELS = (
    label_name(conventions.SERVICE_NAME),
    label_name(conventions.OPERATION),
    label_name(conventions.REQUEST_MODEL),
)
_LABELS = (*_SUCCESS_LABELS, label_name(conventions.ERROR_TYPE))


class Requests:
    """Observes request spans; every label is bounded, what is beyond the bound is `other`.

    A request is counted once. Where both Sidelight's plugin and vLLM's own tracer report,
    the plugin's SERVER span is the one that counts, because it knows model, operation and
    errors; the engine's span counts for services that have no plugin.
    """

    def __init__(self, registry: Registry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._duration = registry.histogram(conventions.SERVER_REQUEST_DURATION, _LABELS)
        self._ttft = registry.histogram(conventions.SERVER_TTFT, _SUCCESS_LABELS)
        self._tpot = registry.histogram(conventions.SERVER_TPOT, _SUCCESS_LABELS)
        self._services = Allowed(_MOST_SERVICES)
        self._operations = Allowed(16)
        self._models = Allowed(64)
        self._errors = Allowed(32)
        self._known: dict[tuple[str, str, str, str], tuple[Cell, Cell, Cell]] = {}
        # As numbers: whoever sends a request may choose its id, of whatever length.
        self._recent: Recent[int, None] = Recent(_RECENT_REQUESTS)
        self._plugin_seen: Recent[int, float] = Recent(_MOST_SERVICES)

    def observe(self, service: str, span: SpanRecord, *, from_engine: bool = False) -> bool:
        """Count one request: the plugin's SERVER span, or with `from_engine` vLLM's own span.

        `service` is the resource's service.name. Returns whether it counted: not where the
        request was counted before.
        """
        now = self._clock()
        if not from_engine:
            self._plugin_seen.put(hash(service), now)
        else:
            seen = self._plugin_seen.get(hash(service))
            if seen is not None and now - seen < _PLUGIN_SECONDS:
                return False
        request = span.attributes.get(conventions.ENGINE_REQUEST_ID)
        if isinstance(request, str) and not self._is_first(service, request):
            return False
        self._count(service, span)
        return True

    def _is_first(self, service: str, request: str) -> bool:
        key = hash((service, request))
        if key in self._recent:
            return False
        self._recent.put(key, None)
        return True

    def _count(self, service: str, span: SpanRecord) -> None:
        found = span.attributes
        error = text(found.get(conventions.ERROR_TYPE)) or ("_OTHER" if span.is_error else "")
        model = found.get(conventions.REQUEST_MODEL) or found.get(conventions.RESPONSE_MODEL)
        names = (
            self._services.of(service),
            self._operations.of(text(found.get(conventions.OPERATION))),
            # A failed request's model is whatever the client wrote: it opens no label.
            self._models.of(text(model), admit=not error),
            self._errors.of(error),
        )
        duration, ttft, tpot = self._cells(names)
        duration.observe(span.seconds, span.trace_id, span.span_id)
        if not error:
            _observe(ttft, found.get(conventions.TIME_TO_FIRST_TOKEN), span)
            _observe(tpot, found.get(conventions.TIME_PER_OUTPUT_TOKEN), span)

    def _cells(self, names: tuple[str, str, str, str]) -> tuple[Cell, Cell, Cell]:
        found = self._known.get(names)
        if found is None:
            kept = names
            if len(self._known) >= _MOST_LABEL_SETS:
                kept = (OTHER, OTHER, OTHER, OTHER if names[3] else "")
            success = kept[:3]
            found = (
                self._duration.labels(*kept),
                self._ttft.labels(*success),
                self._tpot.labels(*success),
            )
            if kept is names:
                self._known[names] = found
        return found


def _observe(cell: Cell, seconds: AttributeValue, span: SpanRecord) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return
    if math.isfinite(seconds) and seconds >= 0:
        cell.observe(seconds, span.trace_id, span.span_id)
