"""Request histograms (OpenTelemetry's GenAI server metrics) made from spans, with exemplars."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from prometheus_client import Histogram

from sidelight import conventions
from sidelight.collector.lens.span import AttributeValue, SpanRecord
from sidelight.collector.measure.family import label_name
from sidelight.collector.measure.registry import Registry

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")

OTHER = "other"
_LONGEST_LABEL = 128
_MOST_SERVICES = 64
_RECENT_REQUESTS = 8192
# After this long without a span of its plugin a service counts as having none.
_PLUGIN_SECONDS = 600.0
# One label set of all three histograms holds about 45 buckets, some 15 kB.
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
        self._label_sets: set[tuple[str, ...]] = set()
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
        names = self._bounded(
            (
                self._services.of(service),
                self._operations.of(_text(found.get(conventions.OPERATION))),
                # A failed request's model is whatever the client wrote: it opens no label.
                self._models.of(_text(model), admit=not error),
                self._errors.of(error),
            )
        )
        exemplar = {"trace_id": span.trace_id.hex(), "span_id": span.span_id.hex()}
        self._duration.labels(*names).observe(span.seconds, exemplar)
        if not error:
            _observe(self._ttft, names, found.get(conventions.TIME_TO_FIRST_TOKEN), exemplar)
            _observe(self._tpot, names, found.get(conventions.TIME_PER_OUTPUT_TOKEN), exemplar)

    def _bounded(self, names: tuple[str, str, str, str]) -> tuple[str, str, str, str]:
        if names not in self._label_sets:
            if len(self._label_sets) >= _MOST_LABEL_SETS:
                return OTHER, OTHER, OTHER, OTHER if names[3] else ""
            self._label_sets.add(names)
        return names


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


def _observe(
    histogram: Histogram,
    names: tuple[str, str, str, str],
    seconds: AttributeValue,
    exemplar: dict[str, str],
) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return
    if math.isfinite(seconds) and seconds >= 0:
        histogram.labels(*names[:3]).observe(seconds, exemplar)
