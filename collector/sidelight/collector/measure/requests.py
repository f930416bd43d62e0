"""Request histograms (OpenTelemetry's GenAI server metrics) made from spans, with exemplars."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from sidelight import conventions
from sidelight.collector.lens.prometheus_names import label_name
from sidelight.collector.lens.span import AttributeValue, SpanRecord
from sidelight.collector.measure.histogram import Cell
from sidelight.collector.measure.registry import Registry

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")

OTHER = "other"
_LONGEST_LABEL = 128
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
        self._services = _Allowed(_MOST_SERVICES)
        self._operations = _Allowed(16)
        self._models = _Allowed(64)
        self._errors = _Allowed(32)
        self._known: dict[tuple[str, str, str, str], tuple[Cell, Cell, Cell]] = {}
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._plugin_seen: OrderedDict[str, float] = OrderedDict()

    def observe(self, service: str, span: SpanRecord, *, from_engine: bool = False) -> None:
        """Count one request: the plugin's SERVER span, or with `from_engine` vLLM's own span.

        `service` is the resource's service.name.
        """
        now = self._clock()
        if not from_engine:
            _remember(self._plugin_seen, service, now, _MOST_SERVICES)
        elif now - self._plugin_seen.get(service, -math.inf) < _PLUGIN_SECONDS:
            return
        request = span.attributes.get(conventions.ENGINE_REQUEST_ID)
        if isinstance(request, str) and not self._is_first(service, request):
            return
        self._count(service, span)

    def _is_first(self, service: str, request: str) -> bool:
        key = (service, request)
        if key in self._recent:
            return False
        _remember(self._recent, key, None, _RECENT_REQUESTS)
        return True

    def _count(self, service: str, span: SpanRecord) -> None:
        found = span.attributes
        error = _text(found.get(conventions.ERROR_TYPE)) or ("_OTHER" if span.is_error else "")
        model = found.get(conventions.REQUEST_MODEL) or found.get(conventions.RESPONSE_MODEL)
        names = (
            self._services.of(service),
            self._operations.of(_text(found.get(conventions.OPERATION))),
            # A failed request's model is whatever the client wrote: it opens no label.
            self._models.of(_text(model), admit=not error),
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


class _Allowed:
    """The first `limit` values of a label are kept; every later one is `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values = {""}

    def of(self, value: str, *, admit: bool = True) -> str:
        if value not in self._values:
            if not admit or len(self._values) > self._limit or len(value) > _LONGEST_LABEL:
                return OTHER
            self._values.add(value)
        return value


def _remember(kept: OrderedDict[Key, Kept], key: Key, value: Kept, most: int) -> None:
    """Put a key last and let the oldest go."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _text(value: AttributeValue) -> str:
    return value if isinstance(value, str) else ""


def _observe(cell: Cell, seconds: AttributeValue, span: SpanRecord) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return
    if math.isfinite(seconds) and seconds >= 0:
        cell.observe(seconds, span.trace_id, span.span_id)
