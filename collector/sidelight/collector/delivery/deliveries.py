"""Every destination's forwarders at work; destinations come, go and change while they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sidelight.collector.delivery.build import SendObserver, build_lane, forwarder
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.delivery.lanes import Lane, lanes
from sidelight.collector.destinations.registry import AnyDestination, type_of
from sidelight.collector.log.cursor import Position
from sidelight.collector.log.log import SegmentLog
from sidelight.otlp.signals import Signal

_logger = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
# What is on its way to a destination that changes may arrive within this time.
_FINISH_SECONDS = 2.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Store:
    """A log and the folder it is in."""

    log: SegmentLog
    directory: Path

    def has_all(self, cursor: str) -> bool:
        """Whether nothing is left in the log for the cursor; blocks."""
        return self.log.read(self.log.cursor(cursor)) is None


class Delivery:
    """One lane: the logs that others left behind, oldest first, then our own for ever.

    One after the other, so that the lane's pace holds and what is older arrives before.
    """

    def __init__(
        self, lane: Lane, stores: Sequence[Store], observer: SendObserver, after: Delivery | None
    ) -> None:
        """Begins at once or, with `after`, once that one has ended. Needs a running loop."""
        self.lane = lane
        self.name = lane.config.name
        self._stores = stores
        self._observer = observer
        self._forwarder: Forwarder | None = None
        self._at: Store | None = None
        self._is_ending = False
        # Speaks for this one until it has ended.
        self._after = after
        self._end: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that the destination has yet to get; 0 if it has all."""
        found = self._forwarder or self._after
        return found.lag_seconds if found else 0.0

    @property
    def trouble(self) -> str | None:
        """Why the destination does not take data now; None while it does."""
        found = self._forwarder or self._after
        return found.trouble if found else None

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the destination, as far as is known without looking."""
        return self._is_elsewhere or self.lag_seconds > 0

    @property
    def _is_elsewhere(self) -> bool:
        return self._at is not self._stores[-1]

    def is_done_with(self, store: Store) -> bool:
        """Whether it has all of the store and looks into a later one."""
        if self._at is None or store not in self._stores:
            return store not in self._stores
        return self._stores.index(store) < self._stores.index(self._at)

    def wake(self) -> None:
        """Something was appended to our own log."""
        if self._forwarder is not None:
            self._forwarder.wake()

    async def settled(self) -> None:
        """Return once the destination has everything, or is in trouble: no use in waiting."""
        while True:
            found = self._forwarder
            if found is not None:
                await found.settled()
                if found.trouble is not None or not self._is_elsewhere:
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    async def end(self) -> None:
        """Let arrive what is on its way, then stop; the cursor stays where it is committed."""
        if self._end is None:
            self._end = asyncio.create_task(self._finish())
        await asyncio.shield(self._end)

    def close(self) -> None:
        """Stop at once; the cursor stays where it is committed."""
        self._is_ending = True
        self._task.cancel()
        if self._forwarder is not None:
            self._forwarder.close()

    async def _finish(self) -> None:
        self._is_ending = True
        if self._after is not None:
            # Whoever follows us would begin while that one still sends.
            await self._after.end()
        if self._forwarder is not None:
            self._forwarder.finish()
            await asyncio.wait([self._task], timeout=_FINISH_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._forwarder is not None:
            self._forwarder.close()
            await self._forwarder.ended()

    async def _run(self) -> None:
        if self._after is not None:
            await self._after.end()
        for store in self._stores[:-1]:
            await self._empty(store)
        if not self._is_ending:
            await self._forward(self._stores[-1])

    async def _empty(self, store: Store) -> None:
        """Send what is in a log that nobody appends to any more."""
        if await asyncio.to_thread(store.has_all, self.name):
            return
        forwarding = asyncio.create_task(self._forward(store))
        try:
            while not (forwarding.done() or await asyncio.to_thread(store.has_all, self.name)):
                await asyncio.wait([forwarding], timeout=_LOOK_SECONDS)
        finally:
            forwarding.cancel()
            await asyncio.gather(forwarding, return_exceptions=True)
        if not self._is_ending and self._forwarder is not None:
            self._forwarder.close()
            await self._forwarder.ended()

    async def _forward(self, store: Store) -> None:
        """A forwarder that fails is logged and begun anew; the others go on."""
        if self._is_ending:
            return None
        found: Forwarder | None = None
        while True:
            try:
                if found is None:
                    found = forwarder(self.lane, store.log, store.directory, self._observer)
                    self._forwarder, self._at, self._after = found, store, None
                return await found.run()
            except Exception:
                _logger.exception("%s failed and is begun anew", self.name)
                await asyncio.sleep(_RESTART_SECONDS)


class _Running(NamedTuple):
    destination: AnyDestination
    deliveries: list[Delivery]


class Deliveries:
    """The deliveries to all destinations; `destinations` are those applied last."""

    def __init__(self, stores: Sequence[Store], observer: SendObserver) -> None:
        """`stores`: what others left behind, oldest first, and our own log as the last."""
        self._stores = tuple(stores)
        self._observer = observer
        self._running: dict[str, _Running] = {}
        # By lane: whoever follows has to wait for it.
        self._ending: dict[str, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.cursors: Mapping[str, frozenset[Signal]] = {}
        """The cursors that retention waits for, and the signals that each wants."""

    @property
    def destinations(self) -> tuple[AnyDestination, ...]:
        """Those that data is sent to now."""
        return tuple(each.destination for each in self._running.values())

    @property
    def all(self) -> list[Delivery]:
        """Those at work now."""
        return [delivery for each in self._running.values() for delivery in each.deliveries]

    def wake(self) -> None:
        """Something was appended to our own log."""
        for each in self._running.values():
            for delivery in each.deliveries:
                delivery.wake()

    def apply(self, destinations: Iterable[AnyDestination]) -> list[str]:
        """Send to these from now on; those that are as they were go on undisturbed.

        One that changed goes on from its cursor. The cursor of one that is gone stays in its
        file, but nothing is kept for it any more. Returns a word on each that came, changed or
        went. Raises `ConfigError` for what only shows when parts are built; then nothing has
        changed.
        """
        wanted = {each.name: each for each in destinations}
        for lane in lanes(wanted.values()):
            # What only shows when a destination is built must show before anything changes.
            build_lane(lane).close()
        self.cursors = {
            lane.config.name: frozenset(type_of(lane.config).signals(lane.config))
            for lane in lanes(wanted.values())
        }
        words = {}
        for name, running in list(self._running.items()):
            if wanted.get(name) != running.destination:
                words[name] = "changed" if name in wanted else "removed"
                for delivery in self._running.pop(name).deliveries:
                    self._retire(delivery)
        for name, destination in wanted.items():
            if name not in self._running:
                words.setdefault(name, "added")
                self._running[name] = self._begin(destination)
        return [f"{name} {word}" for name, word in words.items()]

    def _begin(self, destination: AnyDestination) -> _Running:
        found = lanes([destination])
        return _Running(
            destination,
            [
                Delivery(
                    lane, self._stores, self._observer, self._ending.pop(lane.config.name, None)
                )
                for lane in found
            ],
        )

    def _retire(self, delivery: Delivery) -> None:
        self._ending[delivery.name] = delivery
        task = asyncio.create_task(self._end(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, delivery: Delivery) -> None:
        await delivery.end()
        if self._ending.get(delivery.name) is delivery:
            del self._ending[delivery.name]

    async def go_back(self, name: str, store: Store, position: Position) -> bool:
        """Send a lane again what a log holds from `position` on.

        False if nothing was done: there is no such lane, or it had not come so far.
        """
        for running in list(self._running.values()):
            for delivery in running.deliveries:
                if delivery.name == name and position <= store.log.cursor(name):
                    return await self._begin_again(running, delivery, store, position)
        return False

    async def _begin_again(
        self, running: _Running, delivery: Delivery, store: Store, position: Position
    ) -> bool:
        await delivery.end()
        try:
            await asyncio.to_thread(store.log.commit, delivery.name, position)
        except OSError as error:
            _logger.error("log: the cursor of %s cannot be written: %s", delivery.name, error)
        if running not in self._running.values():
            # A reload came in between; who follows may have begun at the old place.
            return False
        at = running.deliveries.index(delivery)
        running.deliveries[at] = Delivery(delivery.lane, self._stores, self._observer, None)
        return True

    def is_done_with(self, store: Store) -> bool:
        """Whether no delivery needs a log that was left behind; without destinations all do."""
        return bool(self.all) and all(
            each.is_done_with(store) for each in (*self.all, *self._ending.values())
        )

    def forget(self, store: Store) -> None:
        """A log that was left behind is not to be read any more."""
        self._stores = tuple(each for each in self._stores if each is not store)

    async def settled(self) -> None:
        """Return once each destination has everything or is in trouble."""
        await asyncio.gather(*(each.settled() for each in self.all))

    def close(self) -> None:
        """Stop at once; the cursors stay where they are committed."""
        for each in (*self._ending.values(), *self.all):
            each.close()
