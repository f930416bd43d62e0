"""Does what `sidelight log replay` asks of a running collector: rewinds subscriptions."""

from __future__ import annotations

import asyncio
import logging

from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.log.durable_log import DurableLog

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class Replays:
    """Looks for requests in the log every second, and answers those that could be done."""

    def __init__(self, log: DurableLog, deliveries: Deliveries) -> None:
        self._log = log
        self._deliveries = deliveries

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # Files: the command needs neither a port nor a token of the collector.
            for request in await asyncio.to_thread(self._log.replay_requests):
                if await self._deliveries.rewind(request.subscription, request.position):
                    await asyncio.to_thread(request.answer)
                    _logger.info(
                        "replaying to %s what the log holds from %s on",
                        request.subscription,
                        request.position,
                    )
            await asyncio.sleep(_LOOK_SECONDS)
