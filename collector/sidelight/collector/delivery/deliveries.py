"""Every subscription at work; destinations come, go and change while they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from sidelight.collector.delivery.build import build_exporter, signals_of
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.subscription import Subscription
from sidelight.collector.delivery.subscription_config import subscription_configs
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.position import Position
from sidelight.otlp.signals import Signal

_logger = logging.getLogger(__name__)

# For the cursors to be written; a dead disk must not hold up the end of the process.
_CLOSE_SECONDS = 1.0


class _Running(NamedTuple):
    destination: AnyDestination
    subscriptions: list[Subscription]


class Deliveries:
    """The subscriptions of all destinations; `destinations` are those applied last."""

    def __init__(self, log: DurableLog, observer: Observer) -> None:
        self._log = log
        self._observer = observer
        self._running: dict[str, _Running] = {}
        # By name: a successor has to wait for it.
        self._ending: dict[str, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.wanted: Mapping[str, frozenset[Signal]] = {}
        """The subscriptions that retention waits for, and the signals that each reads."""

    @property
    def destinations(self) -> tuple[AnyDestination, ...]:
        """Those that data is sent to now."""
        return tuple(running.destination for running in self._running.values())

    @property
    def all(self) -> list[Subscription]:
        """The subscriptions at work now."""
        return [
            subscription
            for running in self._running.values()
            for subscription in running.subscriptions
        ]

    def wake(self) -> None:
        """Something was appended to the log."""
        for running in self._running.values():
            for subscription in running.subscriptions:
                subscription.wake()

    def apply(self, destinations: Iterable[AnyDestination]) -> list[str]:
        """Send to these from now on; those that are as they were go on undisturbed.

        One that changed goes on from its cursor. The cursor of one that is gone stays in its
        file, but nothing is kept for it any more. Returns a word on each that came, changed or
        went. Raises `ConfigError` for what only shows when parts are built; then nothing has
        changed.
        """
        wanted = {destination.name: destination for destination in destinations}
        # All of them first: a fault in one must leave the others as they are.
        configs = subscription_configs(wanted.values())
        for config in configs:
            # What only shows when an exporter is built must show before anything changes.
            build_exporter(config).close()
        self.wanted = {config.name: signals_of(config) for config in configs}
        words = {}
        for name, running in list(self._running.items()):
            if wanted.get(name) != running.destination:
                words[name] = "changed" if name in wanted else "removed"
                for subscription in self._running.pop(name).subscriptions:
                    self._retire(subscription)
        for name, destination in wanted.items():
            if name not in self._running:
                words.setdefault(name, "added")
                self._running[name] = self._begin(destination)
        return [f"{name} {word}" for name, word in words.items()]

    def _begin(self, destination: AnyDestination) -> _Running:
        return _Running(
            destination,
            [
                Subscription(config, self._log, self._observer, self._ending.pop(config.name, None))
                for config in subscription_configs([destination])
            ],
        )

    def _retire(self, subscription: Subscription) -> None:
        self._ending[subscription.name] = subscription
        task = asyncio.create_task(self._end(subscription))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, subscription: Subscription) -> None:
        await subscription.end()
        if self._ending.get(subscription.name) is subscription:
            del self._ending[subscription.name]

    async def rewind(self, name: str, position: Position) -> bool:
        """Send a subscription again what the log holds from `position` on.

        False if nothing was done: there is none of this name, or it has not come that far.
        """
        has_passed = self._log.cursor(name).has_passed(position)
        for running in list(self._running.values()):
            for subscription in running.subscriptions:
                if subscription.name == name and has_passed:
                    return await self._restart(running, subscription, position)
        return False

    async def _restart(
        self, running: _Running, subscription: Subscription, position: Position
    ) -> bool:
        await subscription.end()
        try:
            await asyncio.to_thread(self._log.cursor(subscription.name).rewind, position)
        except OSError as error:
            _logger.error("log: the cursor of %s cannot be written: %s", subscription.name, error)
        if running not in self._running.values():
            # A reload came in between; the successor may have begun at the old place.
            return False
        at = running.subscriptions.index(subscription)
        running.subscriptions[at] = Subscription(subscription.config, self._log, self._observer)
        return True

    async def settled(self) -> None:
        """Return once each destination has everything or is in trouble."""
        await asyncio.gather(*(subscription.settled() for subscription in self.all))

    async def close(self) -> None:
        """Stop at once; the cursors stay behind what has arrived."""
        # Those that end as well: they still have a thread on the log.
        subscriptions = (*self._ending.values(), *self.all)
        for subscription in subscriptions:
            subscription.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*(subscription.closed() for subscription in subscriptions))
