"""Gives each span that is to be measured to the metrics that count it."""

from __future__ import annotations

from collections.abc import Sequence

from sidelight import conventions as c
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.delays import Delays
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.requests import Requests
from sidelight.collector.metrics.retrieval import Retrieval
from sidelight.collector.metrics.usage import Usage
from sidelight.otlp.span import SourcedSpan

_ENGINE = frozenset({c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD})
# OTLP's SpanKind.
_SERVER = 2


class Calls:
    """Calls of models and of vector databases, as canonical spans tell of them."""

    def __init__(self, registry: Registry, options: MetricsConfig) -> None:
        self._requests = Requests(registry)
        self._delays = Delays(registry, options.usage)
        self._usage = Usage(registry, options.usage)
        self._retrieval = Retrieval(registry, options.retrieval)

    def observe(self, spans: Sequence[SourcedSpan]) -> None:
        """Count the spans of one request."""
        databases = []
        for source in spans:
            if c.DB_SYSTEM in source.span.attributes:
                databases.append((source.scope, source.span))
            elif source.scope in _ENGINE or source.scope == c.SCOPE_VLLM:
                self._served(source)
            else:
                self._usage.observe(source.service, source.span)
        if databases:
            self._retrieval.observe(databases)

    def _served(self, source: SourcedSpan) -> None:
        """A span of the engine's side; its queue, prefill and decode are in the server's own."""
        is_engine = source.scope in _ENGINE
        if not is_engine and source.span.kind != _SERVER:
            return
        if self._requests.observe(source.service, source.span, from_engine=is_engine):
            self._delays.observe(source.service, source.span)
            self._usage.observe(source.service, source.span)
