"""Logs whether the vLLM beside this collector is observed, so that `kubectl logs` answers it.

Only with `sidecar: true`: any other collector does not know which vLLM it is to hear of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.receivers.scrape.check import NOT_OBSERVED

_logger = logging.getLogger(__name__)

# The plugin sends metrics every 15 s, with or without requests.
MAX_SILENT_SECONDS: Final = 60.0
FIRST_REMINDER_SECONDS: Final = 300.0
REMINDER_SECONDS: Final = 3600.0
WHERE_TO_LOOK: Final = (
    "The plugin reports within 15 s after vLLM is ready. After that, look for 'Sidelight: not "
    "loaded' in vLLM's log, and run `python3 -m sidelight_injected` in its container: it names "
    "the reason. If there is no such module, PYTHONPATH lacks the folder, or vLLM's command sets "
    "another one. `python -I` and `-E` ignore it. If it is loaded, OTEL_EXPORTER_OTLP_ENDPOINT "
    f"sends past this collector. {' '.join(NOT_OBSERVED)}"
)
_POLL_SECONDS: Final = 5.0


class PluginWatch:
    """Says once that a plugin reports, that it is silent, or that none has come."""

    def __init__(
        self, received: ReceivedMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is the one that `received` reads."""
        self._received = received
        self._clock = clock
        self._heard: str | None = None
        self._remind_at = clock() + FIRST_REMINDER_SECONDS

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            self.look()
            await asyncio.sleep(_POLL_SECONDS)

    def look(self) -> None:
        """Log what has changed since the last look."""
        now = self._clock()
        newest = self._received.newest_plugin()
        if newest is not None and now - newest.seen < MAX_SILENT_SECONDS:
            if newest.instance != self._heard:
                self._heard = newest.instance
                _logger.info(
                    "vLLM is observed: Sidelight %s in vLLM %s, service %s",
                    newest.sidelight, newest.vllm, newest.service,
                )  # fmt: skip
            self._remind_at = now + REMINDER_SECONDS
        elif self._heard is not None:
            self._heard = None
            self._remind_at = now + REMINDER_SECONDS
            _logger.warning(
                "nothing received from vLLM's plugin for %.0f s. It sends every 15 s while vLLM "
                "runs: look into the log of vLLM's container",
                MAX_SILENT_SECONDS,
            )
        elif now >= self._remind_at:
            self._remind_at = now + REMINDER_SECONDS
            _logger.warning("nothing received from vLLM's plugin. %s", WHERE_TO_LOOK)
