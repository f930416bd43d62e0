"""Spans that were opened for measuring, each given to what counts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sidelight import conventions as c
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.delays import Delays
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.requests import Requests
from sidelight.collector.metrics.retrieval import Retrieval
from sidelight.collector.metrics.usage import Usage
from sidelight.otlp.span import SpanRecord

_ENGINE = frozenset({c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD})
# OTLP's SpanKind.
_SERVER = 2


class Opened(Protocol):
    """A span with the service and the instrumentation scope that it is from."""

    @property
    def service(self) -> str: ...

    @property
    def scope(self) -> str: ...

    @property
    def span(self) -> SpanRecord: ...


class Calls:
    """Calls of models and of vector databases, as canonical spans tell of them."""

    def __init__(self, registry: Registry, options: MetricsConfig) -> None:
        self._requests = Requests(registry)
        self._delays = Delays(registry, options.usage)
        self._usage = Usage(registry, options.usage)
        self._retrieval = Retrieval(registry, options.retrieval)

    def observe(self, opened: Sequence[Opened]) -> None:
        """Count the spans of one request."""
        databases = []
        for each in opened:
            if c.DB_SYSTEM in each.span.attributes:
                databases.append((each.scope, each.span))
            elif each.scope in _ENGINE or each.scope == c.SCOPE_VLLM:
                self._served(each)
            else:
                self._usage.observe(each.service, each.span)
        if databases:
            self._retrieval.observe(databases)

    def _served(self, each: Opened) -> None:
        """A span of the engine's side; its queue, prefill and decode are in the server's own."""
        is_engine = each.scope in _ENGINE
        if not is_engine and each.span.kind != _SERVER:
            return
        if self._requests.observe(each.service, each.span, from_engine=is_engine):
            self._delays.observe(each.service, each.span)
            self._usage.observe(each.service, each.span)
