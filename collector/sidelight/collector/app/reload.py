"""Runs reloads: one at a time, all or nothing, reported in the log and in metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidelight import conventions as c
from sidelight.collector.metrics.registry import Registry

_logger = logging.getLogger(__name__)

MAX_RELOADS = 2
"""One that runs and one that waits, which will read everything written until it starts."""


@dataclass(frozen=True, slots=True)
class Change:
    """The result of a reload: the changed destinations, and changed keys that need a restart."""

    destinations: tuple[str, ...]
    waiting: tuple[str, ...]


class Reloads:
    """Runs reloads, and shows in metrics whether the last one succeeded."""

    def __init__(self, registry: Registry, faults: type[Exception]) -> None:
        """`faults`: the exception for a faulty configuration, with a line for each fault."""
        self._faults = faults
        self._lock = asyncio.Lock()
        # For an alert: a failed reload is otherwise only a line in the log.
        self._is_ok = registry.gauge(c.COLLECTOR_RELOAD_OK)
        self._loaded = registry.gauge(c.COLLECTOR_CONFIG_LOADED)
        self._succeeded()

    async def attempt(self, change: Callable[[], Awaitable[Change]]) -> Change | None:
        """Run `change`, which raises faults of the configuration before it changes anything.

        Returns None if it failed; the log says why.
        """
        # One after another: two that overlap could leave a mixture of both files in use.
        async with self._lock:
            try:
                result = await change()
            except self._faults as error:
                self._is_ok.set(0)
                for fault in str(error).splitlines():
                    _logger.error("reload failed, nothing changed: %s", fault)
                return None
            except Exception:
                self._is_ok.set(0)
                # Not a fault of the configuration but of ours, so it may have come half-way.
                _logger.exception("reload failed: parts of the new configuration may be in use")
                return None
            self._succeeded()
            return result

    def _succeeded(self) -> None:
        self._is_ok.set(1)
        self._loaded.set(time.time())


def report(change: Change) -> None:
    """Log what a reload has changed."""
    _logger.info("reload done; destinations: %s", ", ".join(change.destinations) or "unchanged")
    if change.waiting:
        _logger.warning("reload ignored keys that need a restart: %s", ", ".join(change.waiting))
