"""Applies retention every few seconds, and counts and logs what it deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sidelight.collector.app.delivery_metrics import DeliveryMetrics
from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.log.config import LogOptions
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.retention import RetentionPolicy

_logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0


class Retention:
    """Trims the log until cancelled.

    Each pass reads the `options`, since a reload changes them, and whether the disk
    `is_in_trouble`: then nothing is kept for a replay.
    """

    def __init__(
        self,
        log: DurableLog,
        deliveries: Deliveries,
        metrics: DeliveryMetrics,
        *,
        options: Callable[[], LogOptions],
        is_in_trouble: Callable[[], bool],
    ) -> None:
        self._log = log
        self._deliveries = deliveries
        self._metrics = metrics
        self._options = options
        self._is_in_trouble = is_in_trouble

    async def run(self) -> None:
        """Trim the log until cancelled."""
        while True:
            await self._trim()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def _trim(self) -> None:
        options = self._options()
        policy = RetentionPolicy(
            max_bytes=options.max_bytes,
            max_age_seconds=options.max_age_seconds,
            keep_seconds=0.0 if self._is_in_trouble() else options.keep_seconds,
            keep_bytes=options.keep_bytes,
        )
        # In a thread: deleting a large file takes seconds on some file systems.
        for loss in await asyncio.to_thread(self._log.trim, self._deliveries.wanted, policy):
            self._metrics.dropped(loss.subscription, loss.items, loss.reason)
            if loss.reason == "lost":
                # The log has said which file is gone, and no limit would have kept it.
                continue
            _logger.error(
                "retention (%s) deleted %d undelivered items of %s: "
                "raise log.max_bytes or log.max_age_seconds, or repair the destination",
                loss.reason,
                loss.items,
                loss.subscription,
            )
