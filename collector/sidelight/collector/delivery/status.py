"""How a subscription stands: whether it is in trouble, and whether it has caught up."""

from __future__ import annotations

import asyncio


class DeliveryStatus:
    """Shared by all parts of one subscription, and by its forwarders one after the other."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        """Why the destination gets nothing now, in our own words; None while it does."""
        self.cause: str | None = None
        """The same in one word, for metrics."""
        self.said = ""
        """The backend's own words on it, which may quote content."""
        self._settled = asyncio.Event()

    def troubled(self, reason: str, cause: str, said: str = "") -> bool:
        """Data does not get through because of `reason`; whether that is news."""
        is_news = reason != self.trouble
        self.trouble, self.cause, self.said = reason, cause, said
        self._settled.set()
        return is_news

    def recovered(self) -> bool:
        """Data gets through; whether that is news."""
        is_news = self.trouble is not None
        if is_news:
            self.trouble, self.cause, self.said = None, None, ""
            # It is worth waiting for again.
            self._settled.clear()
        return is_news

    def busy(self) -> None:
        """There is something to send."""
        if self.trouble is None:
            self._settled.clear()

    def caught_up(self) -> None:
        """The destination has everything."""
        self._settled.set()

    async def settled(self) -> None:
        """Return once the destination has everything, or is in trouble: no use in waiting."""
        await self._settled.wait()
