"""Does what `sidelight log replay` asks of a running collector: sets cursors back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.delivery.store import Store
from sidelight.collector.log.cursor import requests, stored_cursor

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class Replays:
    """Looks into each log folder for requests; one that is done is deleted, which is the answer.

    Who may write into the folder may ask: no port is needed for it.
    """

    def __init__(self, own: Store, left_behind: Sequence[Store], deliveries: Deliveries) -> None:
        self._own = own
        self._left_behind = left_behind
        self._deliveries = deliveries

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for store in (*self._left_behind, self._own):
                await self._look(store)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, store: Store) -> None:
        for name, path in requests(store.directory):
            try:
                position = stored_cursor(path)
            except (OSError, ValueError):
                # Taken back meanwhile, or nobody's.
                continue
            if await self._deliveries.go_back(name, store, position):
                path.unlink(missing_ok=True)
                _logger.info("%s is sent again what the log holds from %s on", name, position)
