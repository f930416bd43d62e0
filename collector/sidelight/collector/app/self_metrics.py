"""The collector's metrics of itself: lag, log size, pending and buffered bytes, connections."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sidelight import conventions as c
from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.type import Receiver


class SelfMetrics:
    """Gauges that are read from the parts at each scrape instead of being kept up to date."""

    def __init__(
        self,
        registry: Registry,
        receivers: Sequence[Receiver],
        writer: LogWriter,
        deliveries: Deliveries,
        log: DurableLog,
    ) -> None:
        self._receivers = receivers
        self._writer = writer
        self._deliveries = deliveries
        self._log = log
        self._lag = registry.gauge(c.COLLECTOR_LAG, ("destination",))
        self._with_lag: set[str] = set()
        self._trouble = registry.gauge(c.COLLECTOR_TROUBLE, ("destination", "cause"))
        self._causes: set[tuple[str, str]] = set()
        self._log_bytes = registry.gauge(c.COLLECTOR_LOG_BYTES)
        self._log_ok = registry.gauge(c.COLLECTOR_LOG_OK)
        self._pending = registry.gauge(c.COLLECTOR_PENDING)
        self._buffered = registry.gauge(c.COLLECTOR_BUFFERED)
        self._connections = registry.gauge(c.COLLECTOR_CONNECTIONS)

    def refresh(self) -> None:
        """Set all gauges to the current state."""
        lags = {delivery.name: delivery.lag_seconds for delivery in self._deliveries.all}
        for removed in self._with_lag - lags.keys():
            # A destination that a reload has removed must not show its last lag for ever.
            self._lag.labels(removed).set(math.nan)
        for name, seconds in lags.items():
            self._lag.labels(name).set(seconds)
        # Only names are kept, at most one for each destination of any configuration.
        self._with_lag |= lags.keys()
        causes = {
            (delivery.name, delivery.cause) for delivery in self._deliveries.all if delivery.cause
        }
        # A status has few causes, so these stay few as well.
        self._causes |= causes
        for destination, cause in self._causes:
            self._trouble.labels(destination, cause).set((destination, cause) in causes)
        self._log_bytes.set(self._log.size_bytes)
        self._log_ok.set(int(self._writer.trouble is None))
        self._pending.set(self._writer.pending_bytes)
        loads = [receiver.load() for receiver in self._receivers]
        self._buffered.set(sum(load.buffered_bytes for load in loads))
        self._connections.set(sum(load.connections for load in loads))
