"""The state of one process: whether it can store what it receives, and what it measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.metrics.exposition import Exposition


class Health:
    """Ready means: what is received can be stored. A dead destination does not make a process
    unready, or an outage of one backend would take pods out of service that lose nothing by it.
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
            each.name: {"lag_seconds": round(each.lag_seconds, 3), "trouble": each.trouble}
            for each in self._deliveries.all
        }
        return state == "ready", {"status": state, "destinations": destinations}
