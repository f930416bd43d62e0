"""Retention: what all destinations have goes, and so does what is too old or too much."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from sidelight.collector.app.configuration.config import LogOptions
from sidelight.collector.app.delivery_metrics import DeliveryMetrics
from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.delivery.store import Store
from sidelight.collector.log import shares
from sidelight.collector.log.log import own

_logger = logging.getLogger(__name__)

_SECONDS = 5.0


class Retention:
    """Trims our own log and those that others left behind; the latter go once they are empty.

    `options` are asked for each time, since a reload changes them, and so is whether the disk
    `is_in_trouble`: then nothing is kept for its own sake.
    """

    def __init__(
        self,
        own: Store,
        left_behind: list[Store],
        deliveries: Deliveries,
        metrics: DeliveryMetrics,
        *,
        options: Callable[[], LogOptions],
        is_in_trouble: Callable[[], bool],
    ) -> None:
        self._own = own
        self._left_behind = left_behind
        self._deliveries = deliveries
        self._metrics = metrics
        self._options = options
        self._is_in_trouble = is_in_trouble

    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(each.log.size_bytes() for each in (self._own, *self._left_behind))

    def close(self) -> None:
        """Close all logs and let another process have their folders."""
        for store in (self._own, *self._left_behind):
            store.log.close()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            options = self._options()
            await self._trim(self._own, options, options.max_bytes)
            for store in list(self._left_behind):
                # It grows no more, and a smaller share of the cap must not cost what is in it.
                await self._trim(store, options, sys.maxsize)
                if self._deliveries.is_done_with(store):
                    await self._remove(store)
            await asyncio.sleep(_SECONDS)

    async def _trim(self, store: Store, options: LogOptions, max_bytes: int) -> None:
        is_kept = store is self._own and not self._is_in_trouble()
        dropped = await asyncio.to_thread(
            store.log.trim,
            self._deliveries.cursors,
            max_bytes=max_bytes,
            max_age_seconds=options.max_age_seconds,
            keep_seconds=options.keep_seconds if is_kept else 0.0,
            keep_bytes=options.keep_bytes,
        )
        for loss in dropped:
            self._metrics.dropped(loss.cursor, loss.items, loss.reason)
            _logger.error(
                "retention (%s) deleted %d undelivered items of %s: "
                "raise log.max_bytes or log.max_age_seconds, or repair the destination",
                loss.reason,
                loss.items,
                loss.cursor,
            )

    async def _remove(self, store: Store) -> None:
        self._left_behind.remove(store)
        self._deliveries.forget(store)
        store.log.close()
        if shares.is_whole(store.directory):
            # Freed with the log, but still the sign that the folders in it are ours.
            own(store.directory)
        try:
            await asyncio.to_thread(shares.remove, store.directory)
        except OSError as error:
            _logger.warning("log folder %s cannot be removed: %s", store.directory, error)
        else:
            _logger.info("log folder %s is empty and removed", store.directory)
