"""Health of one process: metrics, liveness and readiness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.metrics.exposition import Exposition


class Health:
    """Answers the probes of one process.

    Ready means that received data can be stored. A dead destination does not make a process
    unready: the outage of a backend would take pods out of service that lose nothing.
    """

    def __init__(
        self,
        writer: LogWriter,
        deliveries: Deliveries,
        exposition: Exposition,
        on_scrape: Callable[[], None],
    ) -> None:
        """`on_scrape` runs before each exposition."""
        self._writer = writer
        self._deliveries = deliveries
        self._exposition = exposition
        self._on_scrape = on_scrape
        self.is_draining = False

    async def metrics(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and exposition for an Accept header."""
        self._on_scrape()
        return self._exposition.render(accept)

    async def trouble(self) -> str | None:
        """None: a process that answers needs no restart."""
        # A hanging event loop does not answer at all, which is what the probe notices.
        return None

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and the state of log and destinations."""
        if self.is_draining:
            state = "draining"
        elif self._writer.trouble is not None:
            state = f"the log cannot be written: {self._writer.trouble}"
        else:
            state = "ready"
        destinations = {
            delivery.name: {
                "lag_seconds": round(delivery.lag_seconds, 3),
                "trouble": delivery.trouble,
            }
            for delivery in self._deliveries.all
        }
        return state == "ready", {"status": state, "destinations": destinations}
