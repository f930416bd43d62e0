"""Background tasks that outlive their own faults."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_logger = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run `run` until it returns; one that fails is logged and restarted, the others go on."""
    while True:
        try:
            return await run()
        except Exception:
            _logger.exception("%s failed, restarting in %.0f s", name, _RESTART_SECONDS)
            await asyncio.sleep(_RESTART_SECONDS)
