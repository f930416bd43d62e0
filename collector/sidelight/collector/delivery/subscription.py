"""One subscription at work: what it is doing, from its predecessor's end to its own."""

from __future__ import annotations

import asyncio
import logging
from enum import Enum

from sidelight.collector.delivery.build import build_forwarder
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.delivery.subscription_config import SubscriptionConfig
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.log.durable_log import DurableLog

_logger = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
# What is on its way to a destination that changes may arrive within this time.
FINISH_SECONDS = 2.0


class SubscriptionState(Enum):
    """What a subscription does; it passes through these in order and may skip some."""

    WAITING = "waiting for its predecessor to end"
    FORWARDING = "sending what is in the log, and what comes"
    FINISHING = "letting arrive what is on its way"
    ENDED = "ended"


class Subscription:
    """Sends a destination what is in the log, once its predecessor of the same name has ended."""

    def __init__(
        self,
        config: SubscriptionConfig,
        log: DurableLog,
        observer: Observer,
        predecessor: Subscription | None = None,
    ) -> None:
        """Begins at once or, with a `predecessor`, once that one has ended.

        Needs a running loop.
        """
        self.config = config
        self.name = config.name
        self._log = log
        self._observer = observer
        self._state = SubscriptionState.WAITING
        self._status = DeliveryStatus()
        self._predecessor = predecessor
        self._forwarder: Forwarder | None = None
        self._task = asyncio.create_task(self._run())
        self._ending: asyncio.Task[None] | None = None

    @property
    def state(self) -> SubscriptionState:
        """What it does now."""
        return self._state

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that the destination has yet to get; 0 if it has all."""
        source = self._forwarder or self._predecessor
        return source.lag_seconds if source else 0.0

    @property
    def trouble(self) -> str | None:
        """Why the destination does not accept data now; None while it does.

        With the backend's own words, which may quote content: for readers with a token only.
        """
        if self._predecessor is not None:
            return self._predecessor.trouble
        status = self._status
        return None if status.trouble is None else with_words(status.trouble, status.said)

    @property
    def cause(self) -> str | None:
        """The same in one word, for metrics."""
        return self._status.cause if self._predecessor is None else self._predecessor.cause

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the destination, as far as is known without looking."""
        return self._state is SubscriptionState.WAITING or self.lag_seconds > 0

    def wake(self) -> None:
        """Something was appended to the log."""
        if self._forwarder is not None:
            self._forwarder.wake()

    async def settled(self) -> None:
        """Return once the destination has everything, or is in trouble: no use in waiting."""
        await self._status.settled()

    async def end(self) -> None:
        """Let arrive what is on its way, then stop; the cursor stays where it is committed."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        # Two may wait for the end; one that is cancelled must not stop it for the other.
        await asyncio.shield(self._ending)

    def close(self) -> None:
        """Stop at once; the cursor stays where it is committed."""
        self._state = SubscriptionState.ENDED
        # The task first: it would start a forwarder again that fails because it is closed.
        self._task.cancel()
        if self._forwarder is not None:
            self._forwarder.close()

    async def closed(self) -> None:
        """After `close`: return once it touches neither log nor destination any more."""
        await asyncio.gather(self._task, return_exceptions=True)
        if self._forwarder is not None:
            await self._forwarder.closed()

    async def _run(self) -> None:
        if self._predecessor is not None:
            await self._predecessor.end()
            if self.state is not SubscriptionState.WAITING:
                return
            self._predecessor = None
        self._state = SubscriptionState.FORWARDING
        await self._forward()

    async def _forward(self) -> None:
        """A forwarder that fails is logged and restarted; other subscriptions go on."""
        while True:
            try:
                if self._forwarder is None:
                    self._forwarder = build_forwarder(
                        self.config, self._log, self._observer, self._status
                    )
                return await self._forwarder.run()
            except Exception:
                _logger.exception("%s failed, restarting in %g s", self.name, _RESTART_SECONDS)
                await asyncio.sleep(_RESTART_SECONDS)

    async def _end(self) -> None:
        self._state = SubscriptionState.FINISHING
        if self._predecessor is not None:
            # Our successor would begin while that one still sends.
            await self._predecessor.end()
        if self._forwarder is not None:
            self._forwarder.finish()
            await asyncio.wait([self._task], timeout=FINISH_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._close_forwarder()
        self._state = SubscriptionState.ENDED

    async def _close_forwarder(self) -> None:
        """Return once it touches neither its log nor its destination any more."""
        forwarder, self._forwarder = self._forwarder, None
        if forwarder is not None:
            forwarder.close()
            await forwarder.closed()
