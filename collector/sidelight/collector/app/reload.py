"""Reloading: one at a time, all or nothing, and visible in the log and in the metrics."""

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
"""One that runs and one that waits: it will see all that was written until it begins."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload did: a word on each destination that changed, keys that need a restart."""

    destinations: tuple[str, ...]
    waiting: tuple[str, ...]


class Reloads:
    """Tries reloads and remembers how the last one went."""

    def __init__(self, registry: Registry, faults: type[Exception]) -> None:
        """`faults`: what a change raises for a bad configuration, a line for each fault."""
        self._faults = faults
        self._lock = asyncio.Lock()
        self._is_ok = registry.gauge(c.COLLECTOR_RELOAD_OK)
        self._loaded = registry.gauge(c.COLLECTOR_CONFIG_LOADED)
        self._succeeded()

    async def attempt(self, change: Callable[[], Awaitable[Change]]) -> Change | None:
        """Run `change`, which raises its faults before it has changed anything, or nothing.

        None if it failed; what is wrong is in the log then.
        """
        async with self._lock:
            try:
                done = await change()
            except self._faults as error:
                self._is_ok.set(0)
                for fault in str(error).splitlines():
                    _logger.error("reload: the configuration stays as it was: %s", fault)
                return None
            except Exception:
                self._is_ok.set(0)
                _logger.exception("reload: it failed, the configuration may be half the new one")
                return None
            self._succeeded()
            return done

    def _succeeded(self) -> None:
        self._is_ok.set(1)
        self._loaded.set(time.time())


def report(change: Change) -> None:
    """Say in the log what a reload has done."""
    _logger.info("reload: done; destinations: %s", ", ".join(change.destinations) or "as before")
    if change.waiting:
        _logger.warning(
            "reload: %s: %s",
            "one key is as before, because it needs a restart"
            if len(change.waiting) == 1
            else "some keys are as before, because they need a restart",
            ", ".join(change.waiting),
        )
