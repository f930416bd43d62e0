"""Makes metrics of spans: of calls of models and of vector databases, and of served requests."""

from __future__ import annotations

from collections.abc import Sequence

from sidelight import conventions as c
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.delays import DelayMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.requests import RequestMetrics
from sidelight.collector.metrics.retrieval.metrics import RetrievalMetrics
from sidelight.collector.metrics.usage import UsageMetrics
from sidelight.otlp.span import SourcedSpan

_ENGINE_SCOPES = frozenset({c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD})
# OTLP's SpanKind.
_SERVER = 2
_CONSUMER = 5


class SpanMetrics:
    """Gives each canonical span to the metrics that count it."""

    def __init__(self, registry: Registry, config: MetricsConfig) -> None:
        self._requests = RequestMetrics(registry)
        self._delays = DelayMetrics(registry, config.usage)
        self._usage = UsageMetrics(registry, config.usage)
        self._retrieval = RetrievalMetrics(registry, config.retrieval)

    def observe(self, spans: Sequence[SourcedSpan]) -> None:
        """Count the spans of one export request."""
        of_databases = []
        for source in spans:
            if c.DB_SYSTEM in source.span.attributes:
                of_databases.append((source.scope, source.span))
            elif source.scope in _ENGINE_SCOPES or source.scope == c.SCOPE_VLLM:
                self._observe_served(source)
            else:
                self._usage.observe(source.service, source.span)
        # Together, because one span may be a part of another's search.
        if of_databases:
            self._retrieval.observe(of_databases)

    def _observe_served(self, source: SourcedSpan) -> None:
        """Count a span of the server's side."""
        is_engine = source.scope in _ENGINE_SCOPES
        if not is_engine and source.span.kind == _CONSUMER:
            # The work on a background response, whose request was counted when it was answered.
            self._delays.observe(source.service, source.span)
            self._usage.observe(source.service, source.span)
            return
        # Spans below that of the request, of its phases, repeat its times. vLLM's own spans of its
        # start are none of a request.
        if source.span.kind != _SERVER:
            return
        if self._requests.observe(source.service, source.span, from_engine=is_engine):
            self._delays.observe(source.service, source.span)
            self._usage.observe(source.service, source.span)
