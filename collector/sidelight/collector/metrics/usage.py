"""Tokens and cost by model, made from spans: each call of a model counts once."""

from __future__ import annotations

import math

from sidelight import conventions as c
from sidelight.collector.metrics.config import Usage as Options
from sidelight.collector.metrics.labels import OTHER, Allowed, text
from sidelight.collector.metrics.recent import Recent
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import AttributeValue, SpanRecord

MOST_MODELS = 64
_MOST_SERVICES = 64
_MOST_LABEL_SETS = 500
_RECENT_CALLS = 4096
_LONGEST_ID = 256
# Some servers number their answers from a thousand ids: shorter ones tell calls apart in a
# trace only.
_SHORTEST_ID = 20
# What of a call has counted.
_TOKENS, _COST = 1, 2
# Marks the id of a span in which one has counted.
_INSIDE = b"^"
# The price table and the attributes know dollars only.
_CURRENCY = "USD"

_TYPES = (
    ("input", c.INPUT_TOKENS),
    ("output", c.OUTPUT_TOKENS),
    ("cached", c.CACHED_TOKENS),
    ("reasoning", c.REASONING_TOKENS),
)
_COSTS = (c.USAGE_COST, c.LLM_COST_TOTAL)
# Spans of frameworks repeat the sum of the calls below them.
_CALLS = frozenset({"LLM", "EMBEDDING", "RERANKER"})

_MODEL = tuple(label_name(n) for n in (c.SERVICE_NAME, c.REQUEST_MODEL, c.RESPONSE_MODEL))


class Usage:
    """Observes canonical spans; labels are bounded, what is beyond the bound is `other`.

    Tokens count on the span that has gen_ai.usage.*, which the processors and the instrumentation
    leave to one span of a call: the client's, or the server's where no client's span is above
    it. Where two spans of a call have them all the same, one counts: they are known by the id
    of the answer, or by one being right inside the other.
    """

    def __init__(self, registry: Registry, options: Options | None = None) -> None:
        self._tokens = registry.counter(c.TOKENS, (*_MODEL, label_name(c.TOKEN_TYPE)))
        self._cost = registry.counter(c.COST, (*_MODEL, label_name(c.CURRENCY)))
        patterns = (options or Options()).models
        self._services = Allowed(_MOST_SERVICES)
        self._models = Allowed(MOST_MODELS, patterns)
        self._known: set[tuple[str, str, str]] = set()
        # Spans, the spans right above them (with a mark), and ids of answers.
        self._seen: Recent[int, int] = Recent(3 * _RECENT_CALLS)

    def observe(self, service: str, span: SpanRecord) -> None:
        """Count the tokens and the cost of a call, if the span has any."""
        found = span.attributes
        tokens = [(name, _amount(found.get(attribute))) for name, attribute in _TYPES]
        cost = next((each for name in _COSTS if (each := _amount(found.get(name)))), 0.0)
        is_call = found.get(c.SPAN_KIND) in _CALLS
        if is_call and any(amount for _, amount in tokens) and self._is_first(_TOKENS, span):
            names = self._names(service, span)
            for kind, amount in tokens:
                if amount:
                    self._tokens.labels(*names, kind).inc(amount, span.trace_id, span.span_id)
        # By GPU-seconds the server's own span is priced, which need not be the LLM span.
        is_priced = is_call or c.ENGINE_REQUEST_ID in found
        if is_priced and cost and self._is_first(_COST, span):
            names = self._names(service, span)
            self._cost.labels(*names, _CURRENCY).inc(cost, span.trace_id, span.span_id)

    def _is_first(self, what: int, span: SpanRecord) -> bool:
        """Whether no span of the same call has counted; `what` is `_TOKENS` or `_COST`."""
        here = span.trace_id + span.span_id
        above = span.trace_id + span.parent_span_id
        answer = text(span.attributes.get(c.RESPONSE_ID))[:_LONGEST_ID]
        # As numbers: the texts themselves would take three times as much memory.
        own = [hash(here)]
        if len(answer) >= _SHORTEST_ID:
            own.append(hash(answer))
        elif answer:
            own.append(hash((span.trace_id, answer)))
        seen = self._seen
        is_first = not any(
            (seen.get(key) or 0) & what for key in (*own, hash(here + _INSIDE), hash(above))
        )
        if span.parent_span_id:
            own.append(hash(above + _INSIDE))
        # Also of what does not count: three spans may tell of the same call.
        for key in own:
            seen.put(key, (seen.get(key) or 0) | what)
        return is_first

    def _names(self, service: str, span: SpanRecord) -> tuple[str, str, str]:
        found = span.attributes
        asked = text(found.get(c.REQUEST_MODEL)) or text(found.get(c.RESPONSE_MODEL))
        answered = text(found.get(c.RESPONSE_MODEL)) or asked
        names = (
            self._services.of(service),
            # A failed request's model is whatever the client wrote: it opens no label.
            self._models.of(asked, admit=not span.is_error),
            self._models.of(answered, admit=not span.is_error),
        )
        if names not in self._known:
            if len(self._known) >= _MOST_LABEL_SETS:
                return (OTHER, OTHER, OTHER)
            self._known.add(names)
        return names


def _amount(value: AttributeValue) -> float:
    """A number above zero, else nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if math.isfinite(value) and value > 0 else 0
