"""No more than so many items a second."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """Spreads sends so that their items keep to a rate; without one nothing waits."""

    def __init__(self, items_per_second: float | None) -> None:
        self._rate = items_per_second
        self._next_send = 0.0

    async def wait(self, items: int) -> None:
        """Until `items` may be sent."""
        if self._rate is None:
            return
        now = time.monotonic()
        if self._next_send > now:
            await asyncio.sleep(self._next_send - now)
        self._next_send = max(now, self._next_send) + items / self._rate
