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
        # The pause comes before the send that needs it, so that the last one has none behind it.
        if self._next_send > now:
            await asyncio.sleep(self._next_send - now)
        self._next_send = max(now, self._next_send) + items / self._rate


class Allowance:
    """At most `most` uses at once and `per_minute` in the long run."""

    def __init__(self, most: int, per_minute: int) -> None:
        self._most = most
        self._per_second = per_minute / 60
        self._left = float(most)
        self._counted_at = time.monotonic()

    async def use(self) -> None:
        """Use one, as soon as one is there."""
        while True:
            now = time.monotonic()
            # What was not used for long does not add up to a larger burst.
            self._left = min(self._most, self._left + (now - self._counted_at) * self._per_second)
            self._counted_at = now
            if self._left >= 1:
                self._left -= 1
                return
            await asyncio.sleep((1 - self._left) / self._per_second)
