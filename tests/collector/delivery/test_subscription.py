"""A subscription passes through its states in order, and nothing is sent beside another."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidelight.collector.delivery.store import Store
from sidelight.collector.delivery.subscription import State, Subscription
from sidelight.collector.delivery.subscription_config import subscription_configs
from support.backend import Backend, Reply, Request
from support.otlp_receiver import decode_spans
from support.sending import Tally, opened, parse
from support.spans import Made, record
from support.waiting import eventually_async


class Destination:
    """An OTLP backend that can be held, and what it got, by span name."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self.arrived = threading.Event()
        self.status = 200
        self.backend = Backend(self._respond)

    def _respond(self, request: Request) -> Reply:
        self.arrived.set()
        assert self.held.wait(120)
        if self.status == 200:
            self.names += [span.name for span in decode_spans(gzip.decompress(request.body))]
        return Reply(self.status)


@pytest.fixture
def destination() -> Iterator[Destination]:
    destination = Destination()
    with destination.backend:
        yield destination
        destination.held.set()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    """Two logs that others left behind, and our own."""
    folders = [tmp_path / name for name in ("older", "old", "own")]
    with opened(folders[0]) as older, opened(folders[1]) as old, opened(folders[2]) as own:
        yield [Store(log, folder) for log, folder in zip((older, old, own), folders, strict=True)]


@asynccontextmanager
async def subscribed(
    destination: Destination, stores: list[Store], predecessor: Subscription | None = None
) -> AsyncIterator[Subscription]:
    options: dict[str, Any] = {"name": "otlp", "max_backoff_seconds": 0.05}
    (config,) = subscription_configs(
        parse({"type": "otlp_http", "url": destination.backend.url, **options})
    )
    subscription = Subscription(config, stores, Tally(), predecessor)
    try:
        yield subscription
    finally:
        destination.held.set()
        await subscription.end()


def state_of(subscription: Subscription) -> State:
    """Asked anew each time; the type checker takes a property for a constant."""
    return subscription.state


async def settled(subscription: Subscription) -> None:
    async with asyncio.timeout(120):
        await subscription.settled()


async def until(condition: Callable[[], object]) -> None:
    await eventually_async(condition)


async def test_what_is_older_arrives_before(destination: Destination, stores: list[Store]) -> None:
    """What others left behind, oldest first, then our own log and what comes."""
    for store, name in zip(stores, ("first", "second", "third"), strict=True):
        store.log.append([record(Made(name))])
    async with subscribed(destination, stores) as subscription:
        await settled(subscription)
        assert state_of(subscription) is State.FORWARDING
        assert [subscription.is_done_with(store) for store in stores] == [True, True, False]
        stores[-1].log.append([record(Made("fourth"))])
        subscription.wake()
        await settled(subscription)
        assert not subscription.is_behind
    assert destination.names == ["first", "second", "third", "fourth"]
    assert state_of(subscription) is State.ENDED


async def test_a_log_that_was_left_behind_is_needed_until_it_is_sent(
    destination: Destination, stores: list[Store]
) -> None:
    """While its destination is down it is neither done with nor is the end waited for."""
    stores[0].log.append([record(Made("first"))])
    destination.status = 503
    async with subscribed(destination, stores) as subscription:
        await settled(subscription)
        assert state_of(subscription) is State.EMPTYING
        assert subscription.is_behind
        assert "503" in str(subscription.trouble)
        assert not subscription.is_done_with(stores[0])
        destination.status = 200
        await until(lambda: subscription.is_done_with(stores[0]))
        await settled(subscription)
        assert subscription.trouble is None
        assert state_of(subscription) is State.FORWARDING


async def test_a_successor_waits_for_what_is_on_its_way(
    destination: Destination, stores: list[Store]
) -> None:
    """It begins where the predecessor ended, and speaks for it until then."""
    own = stores[-1:]
    own[0].log.append([record(Made("first")), record(Made("second"))])
    destination.held.clear()
    async with subscribed(destination, own) as predecessor:
        await until(destination.arrived.is_set)
        async with subscribed(destination, own, predecessor) as successor:
            await until(lambda: predecessor.state is State.FINISHING)
            assert state_of(successor) is State.WAITING
            assert successor.is_behind
            assert successor.lag_seconds > 0
            destination.held.set()
            await settled(successor)
            assert state_of(predecessor) is State.ENDED
            assert state_of(successor) is State.FORWARDING
    assert destination.names == ["first", "second"]


async def test_an_end_while_waiting_begins_nothing(
    destination: Destination, stores: list[Store]
) -> None:
    """Quick reloads: the one in the middle never sends, the last begins after the first."""
    own = stores[-1:]
    own[0].log.append([record(Made("first")), record(Made("second"))])
    destination.held.clear()
    async with subscribed(destination, own) as first:
        await until(destination.arrived.is_set)
        async with (
            subscribed(destination, own, first) as middle,
            subscribed(destination, own, middle) as last,
        ):
            await until(lambda: middle.state is State.FINISHING)
            assert state_of(last) is State.WAITING
            destination.held.set()
            await settled(last)
            assert (first.state, middle.state) == (State.ENDED, State.ENDED)
    assert destination.names == ["first", "second"]


async def test_an_end_does_not_wait_for_ever(destination: Destination, stores: list[Store]) -> None:
    """A backend that hangs is given up after a while; what it did not answer is sent again."""
    own = stores[-1:]
    own[0].log.append([record(Made("first"))])
    destination.held.clear()
    async with subscribed(destination, own) as subscription:
        await until(destination.arrived.is_set)
        async with asyncio.timeout(120):
            await subscription.end()
        assert state_of(subscription) is State.ENDED
        async with subscribed(destination, own) as again:
            destination.held.set()
            await settled(again)
    assert "first" in destination.names


async def test_close_stops_at_once(destination: Destination, stores: list[Store]) -> None:
    """Nothing is waited for; the cursor stays where it was."""
    own = stores[-1:]
    own[0].log.append([record(Made("first"))])
    destination.held.clear()
    async with subscribed(destination, own) as subscription:
        await until(destination.arrived.is_set)
        subscription.close()
        assert state_of(subscription) is State.ENDED
        assert own[0].log.cursor("otlp") != own[0].log.end
