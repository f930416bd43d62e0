"""Counts refused items by cause, and logs each cause at most once a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sidelight import conventions as c
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.signals import Signal

_logger = logging.getLogger(__name__)

# A faulty sender may be refused many times a second; one line a minute shows it.
_LOG_SECONDS = 60.0


@dataclass(slots=True)
class _Unlogged:
    """Refusals since the last log line, and the time of that line."""

    items: int = 0
    logged_at: float | None = None


class Refusals:
    """Counts refusals and logs each cause at most once a minute."""

    def __init__(self, registry: Registry, now: Callable[[], float] = time.monotonic) -> None:
        self._refused = registry.counter(c.COLLECTOR_REFUSED, ("signal", "reason"))
        self._now = now
        self._unlogged: dict[tuple[str, str], _Unlogged] = {}

    def count(self, signal: Signal | Literal["unknown"], reason: str, items: int) -> None:
        """Count a refusal whose cause is logged elsewhere."""
        self._refused.labels(signal, reason).inc(items)

    def note(
        self, signal: Signal | Literal["unknown"], reason: str, sentence: str, items: int = 1
    ) -> None:
        """Count a refusal, and log it with `sentence`, which must not hold content.

        `items` is 1 for a request whose items cannot be counted.
        """
        self.count(signal, reason, items)
        unlogged = self._unlogged.setdefault((signal, reason), _Unlogged())
        unlogged.items += items
        now = self._now()
        if unlogged.logged_at is not None and now - unlogged.logged_at < _LOG_SECONDS:
            return
        _logger.warning("refused %s (%s, %d): %s", signal, reason, unlogged.items, sentence)
        unlogged.items, unlogged.logged_at = 0, now
