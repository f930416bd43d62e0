"""The metrics of KV caches, one set of series for each engine."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from sidelight import conventions as c
from sidelight.collector.metrics.kv_cache.cache_model import CacheModel
from sidelight.collector.metrics.kv_cache.changes import CACHE_SIZES, STORED_KINDS, CacheChanges
from sidelight.collector.metrics.registry import Registry

MessageOutcome = Literal["received", "replayed", "malformed", "lost"]
ResetReason = Literal["joined", "gap", "restart", "cleared"]

# As vLLM's own metrics have them, so that both can be compared.
_ENGINE: Final = ("job", "instance", "engine")
_OUTCOMES: Final[tuple[MessageOutcome, ...]] = ("received", "replayed", "malformed", "lost")
_REASONS: Final[tuple[ResetReason, ...]] = ("joined", "gap", "restart", "cleared")


class KvCacheMetrics:
    """Creates the metrics; their series belong to engines, which the configuration bounds."""

    def __init__(self, registry: Registry) -> None:
        self.stored = registry.counter(c.KV_STORED, (*_ENGINE, "kind"))
        self.evicted = registry.counter(c.KV_EVICTED, _ENGINE)
        self.extra_hits = registry.counter(c.KV_EXTRA_HITS, (*_ENGINE, "cache_size"))
        self.complete = registry.gauge(c.KV_EXTRA_HITS_COMPLETE, (*_ENGINE, "cache_size"))
        self.lifetime = registry.histogram(c.KV_BLOCK_LIFETIME, _ENGINE)
        self.absence = registry.histogram(c.KV_BLOCK_ABSENCE, _ENGINE)
        self.capacity = registry.gauge(c.KV_CAPACITY, _ENGINE)
        self.sampled = registry.gauge(c.KV_SAMPLED, _ENGINE)
        self.messages = registry.counter(c.KV_MESSAGES, (*_ENGINE, "outcome"))
        self.resets = registry.counter(c.KV_RESETS, (*_ENGINE, "reason"))
        self.connections = registry.gauge(c.KV_CONNECTIONS, _ENGINE)


class EngineCacheMetrics:
    """The series of one engine, all shown from the start: a rate needs the zero before."""

    def __init__(
        self, metrics: KvCacheMetrics, model: CacheModel, job: str, instance: str, engine: str
    ) -> None:
        labels = (job, instance, engine)
        self._stored = {kind: metrics.stored.labels(*labels, kind) for kind in STORED_KINDS}
        self._evicted = metrics.evicted.labels(*labels)
        self._extra_hits = [metrics.extra_hits.labels(*labels, f"{size:g}") for size in CACHE_SIZES]
        self._lifetime = metrics.lifetime.labels(*labels)
        self._absence = metrics.absence.labels(*labels)
        self._messages = {
            outcome: metrics.messages.labels(*labels, outcome) for outcome in _OUTCOMES
        }
        self._resets = {reason: metrics.resets.labels(*labels, reason) for reason in _REASONS}
        self._connections = metrics.connections.labels(*labels)
        for index, size in enumerate(CACHE_SIZES):
            gauge = metrics.complete.labels(*labels, f"{size:g}")
            gauge.set_function(partial(model.is_complete, index))
        metrics.capacity.labels(*labels).set_function(lambda: model.capacity)
        metrics.sampled.labels(*labels).set_function(lambda: model.sampled_share)

    def count(self, changes: CacheChanges) -> None:
        """Add what one message changed."""
        for kind, tokens in changes.stored.items():
            self._stored[kind].inc(tokens)
        self._evicted.inc(changes.evicted)
        for series, tokens in zip(self._extra_hits, changes.extra_hits, strict=True):
            series.inc(tokens)
        for seconds in changes.lifetimes:
            self._lifetime.observe(seconds)
        for seconds in changes.absences:
            self._absence.observe(seconds)
        self._resets["cleared"].inc(changes.cleared)

    def message(self, outcome: MessageOutcome, messages: int = 1) -> None:
        """Count messages by outcome."""
        self._messages[outcome].inc(messages)

    def reset(self, reason: ResetReason) -> None:
        """Count a reset of the model."""
        self._resets[reason].inc()

    def connected(self, connections: int) -> None:
        """Show how many publishers are connected."""
        self._connections.set(connections)
