"""Tokens and cost by model, made from spans: each call of a model counts once."""

from __future__ import annotations

import math

from sidelight import conventions as c
from sidelight.collector.metrics.config import Usage as Options
from sidelight.collector.metrics.labels import OTHER, LabelValues, text
from sidelight.collector.metrics.recent import RecentKeys
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import AttributeValue, SpanRecord

MAX_MODELS = 64
_MAX_SERVICES = 64
_MAX_LABEL_SETS = 500
_RECENT_CALLS = 4096
_MAX_ID_CHARACTERS = 256
# Some servers number their answers from a thousand ids: shorter ones tell calls apart in a
# trace only.
_MIN_ID_CHARACTERS = 20
# What of a call has counted; both may.
_TOKENS, _COST = 1, 2
# Marks the id of a span below which one has counted.
_INSIDE = b"^"
# The price table and the attributes know dollars only.
_CURRENCY = "USD"

_TOKEN_TYPES = (
    ("input", c.INPUT_TOKENS),
    ("output", c.OUTPUT_TOKENS),
    ("cached", c.CACHED_TOKENS),
    ("reasoning", c.REASONING_TOKENS),
)
_COSTS = (c.USAGE_COST, c.LLM_COST_TOTAL)
# Spans of frameworks repeat the sum of the calls below them.
_CALL_KINDS = frozenset({"LLM", "EMBEDDING", "RERANKER"})

_MODEL = tuple(label_name(n) for n in (c.SERVICE_NAME, c.REQUEST_MODEL, c.RESPONSE_MODEL))


class UsageMetrics:
    """Observes canonical spans; labels are bounded, and values beyond the bound are `other`.

    Tokens count on the span that has gen_ai.usage.*, which the processors and the instrumentation
    leave to one span of a call: the client's, or the server's where no client's span is above
    it. Where two spans of a call have them nevertheless, one counts: they are recognised by the id
    of the answer, or by one being the parent of the other.
    """

    def __init__(self, registry: Registry, options: Options | None = None) -> None:
        self._tokens = registry.counter(c.TOKENS, (*_MODEL, label_name(c.TOKEN_TYPE)))
        self._cost = registry.counter(c.COST, (*_MODEL, label_name(c.CURRENCY)))
        patterns = (options or Options()).models
        self._services = LabelValues(_MAX_SERVICES)
        self._models = LabelValues(MAX_MODELS, patterns)
        self._label_sets: set[tuple[str, str, str]] = set()
        # Hashes of spans, of their parents (with a mark), and of ids of answers, each with what of
        # its call has counted.
        self._counted: RecentKeys[int, int] = RecentKeys(3 * _RECENT_CALLS)

    def observe(self, service: str, span: SpanRecord) -> None:
        """Count the tokens and the cost of a call, if the span has any."""
        attributes = span.attributes
        tokens = [(type_, _amount(attributes.get(name))) for type_, name in _TOKEN_TYPES]
        cost = next((amount for name in _COSTS if (amount := _amount(attributes.get(name)))), 0.0)
        is_call = attributes.get(c.SPAN_KIND) in _CALL_KINDS
        if is_call and any(amount for _, amount in tokens) and self._is_first(_TOKENS, span):
            labels = self._labels(service, span)
            for type_, amount in tokens:
                if amount:
                    self._tokens.labels(*labels, type_).inc(amount, span.trace_id, span.span_id)
        # A price by GPU-seconds is set on the server's span, which need not be the LLM span.
        is_priced = is_call or c.ENGINE_REQUEST_ID in attributes
        if is_priced and cost and self._is_first(_COST, span):
            labels = self._labels(service, span)
            self._cost.labels(*labels, _CURRENCY).inc(cost, span.trace_id, span.span_id)

    def _is_first(self, what: int, span: SpanRecord) -> bool:
        """Whether no span of the same call has counted; `what` is `_TOKENS` or `_COST`."""
        own_id = span.trace_id + span.span_id
        parent_id = span.trace_id + span.parent_span_id
        answer = text(span.attributes.get(c.RESPONSE_ID))[:_MAX_ID_CHARACTERS]
        # Hashes, because the texts themselves would take three times as much memory.
        keys = [hash(own_id)]
        if len(answer) >= _MIN_ID_CHARACTERS:
            keys.append(hash(answer))
        elif answer:
            keys.append(hash((span.trace_id, answer)))
        counted = self._counted
        is_first = not any(
            (counted.get(key) or 0) & what
            for key in (*keys, hash(own_id + _INSIDE), hash(parent_id))
        )
        if span.parent_span_id:
            keys.append(hash(parent_id + _INSIDE))
        # Also for a span that does not count: a third one may tell of the same call.
        for key in keys:
            counted.put(key, (counted.get(key) or 0) | what)
        return is_first

    def _labels(self, service: str, span: SpanRecord) -> tuple[str, str, str]:
        attributes = span.attributes
        requested = text(attributes.get(c.REQUEST_MODEL)) or text(attributes.get(c.RESPONSE_MODEL))
        responded = text(attributes.get(c.RESPONSE_MODEL)) or requested
        labels = (
            self._services.shown(service),
            # A failed request's model is whatever the client wrote: it must not use up the label.
            self._models.shown(requested, admit=not span.is_error),
            self._models.shown(responded, admit=not span.is_error),
        )
        if labels not in self._label_sets:
            if len(self._label_sets) >= _MAX_LABEL_SETS:
                return (OTHER, OTHER, OTHER)
            self._label_sets.add(labels)
        return labels


def _amount(value: AttributeValue) -> float:
    """A number above zero, else zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if math.isfinite(value) and value > 0 else 0
