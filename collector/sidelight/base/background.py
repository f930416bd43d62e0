"""Background tasks that are restarted after a fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_logger = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run `run` until it returns. A failure is logged, and `run` starts again after a second."""
    while True:
        try:
            return await run()
        except Exception:
            # Retention or scraping that ended with its first fault would be missed only later.
            _logger.exception("%s failed, restarting in %.0f s", name, _RESTART_SECONDS)
            await asyncio.sleep(_RESTART_SECONDS)
