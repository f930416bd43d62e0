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

from sidelight.collector.delivery import subscription as subscription_module
from sidelight.collector.delivery.subscription import Subscription, SubscriptionState
from sidelight.collector.delivery.subscription_config import subscription_configs
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.retention import RetentionPolicy
from sidelight.otlp.signals import SIGNALS
from support.backend import Backend, Reply, Request
from support.otlp_receiver import decode_spans
from support.sending import Tally, opened, parse
from support.spans import Made, record
from support.waiting import PATIENCE_SECONDS, eventually_async


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


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what is on its way arrives before it is given up."""
    monkeypatch.setattr(subscription_module, "FINISH_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def destination() -> Iterator[Destination]:
    destination = Destination()
    with destination.backend:
        yield destination
        destination.held.set()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DurableLog]:
    """A log with leftovers of two workers."""
    for worker, name in enumerate(("first", "second")):
        left = DurableLog(tmp_path, segment_bytes=1 << 20, worker=worker, workers=2)
        left.append([record(Made(name))])
        left.close()
    with opened(tmp_path) as log:
        yield log


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DurableLog]:
    """A log without leftovers."""
    with opened(tmp_path / "own") as log:
        yield log


@asynccontextmanager
async def subscribed(
    destination: Destination, log: DurableLog, predecessor: Subscription | None = None
) -> AsyncIterator[Subscription]:
    options: dict[str, Any] = {
        "name": "otlp",
        "max_backoff_seconds": 0.05,
        "timeout_seconds": PATIENCE_SECONDS,
    }
    (config,) = subscription_configs(
        parse({"type": "otlp_http", "url": destination.backend.url, **options})
    )
    subscription = Subscription(config, log, Tally(), predecessor)
    try:
        yield subscription
    finally:
        destination.held.set()
        await subscription.end()


def state_of(subscription: Subscription) -> SubscriptionState:
    """Asked anew each time; the type checker takes a property for a constant."""
    return subscription.state


async def settled(subscription: Subscription) -> None:
    async with asyncio.timeout(120):
        await subscription.settled()


async def until(condition: Callable[[], object]) -> None:
    await eventually_async(condition)


async def test_what_is_older_arrives_before(destination: Destination, log: DurableLog) -> None:
    """The leftovers, oldest first, then our own log and what comes."""
    log.append([record(Made("third"))])
    async with subscribed(destination, log) as subscription:
        await settled(subscription)
        assert state_of(subscription) is SubscriptionState.FORWARDING
        log.append([record(Made("fourth"))])
        subscription.wake()
        await settled(subscription)
        assert not subscription.is_behind
    assert destination.names == ["first", "second", "third", "fourth"]
    assert state_of(subscription) is SubscriptionState.ENDED


async def test_leftovers_stay_until_they_are_sent(
    destination: Destination, log: DurableLog, tmp_path: Path
) -> None:
    """While its destination is down nothing is removed, nor is the end waited for."""
    policy = RetentionPolicy(max_bytes=1 << 30, max_age_seconds=3600)
    wanted = {"otlp": frozenset(SIGNALS)}
    destination.status = 503
    async with subscribed(destination, log) as subscription:
        await settled(subscription)
        assert subscription.is_behind
        assert "503" in str(subscription.trouble)
        assert log.trim(wanted, policy) == []
        assert len(list(tmp_path.glob("worker-*"))) == 2
        destination.status = 200
        # In trouble it counts as settled, and the backend has all before its answer is read.
        await until(lambda: subscription.trouble is None)
        await settled(subscription)
        assert destination.names == ["first", "second"]
        assert log.trim(wanted, policy) == []
        assert list(tmp_path.glob("worker-*")) == []


async def test_a_successor_waits_for_what_is_on_its_way(
    destination: Destination, own: DurableLog
) -> None:
    """It begins where the predecessor ended, and speaks for it until then."""
    own.append([record(Made("first")), record(Made("second"))])
    destination.held.clear()
    async with subscribed(destination, own) as predecessor:
        await until(destination.arrived.is_set)
        async with subscribed(destination, own, predecessor) as successor:
            await until(lambda: predecessor.state is SubscriptionState.FINISHING)
            assert state_of(successor) is SubscriptionState.WAITING
            assert successor.is_behind
            assert successor.lag_seconds > 0
            destination.held.set()
            await settled(successor)
            assert state_of(predecessor) is SubscriptionState.ENDED
            assert state_of(successor) is SubscriptionState.FORWARDING
    assert destination.names == ["first", "second"]


async def test_an_end_while_waiting_begins_nothing(
    destination: Destination, own: DurableLog
) -> None:
    """Quick reloads: the one in the middle never sends, the last begins after the first."""
    own.append([record(Made("first")), record(Made("second"))])
    destination.held.clear()
    async with subscribed(destination, own) as first:
        await until(destination.arrived.is_set)
        async with (
            subscribed(destination, own, first) as middle,
            subscribed(destination, own, middle) as last,
        ):
            await until(lambda: middle.state is SubscriptionState.FINISHING)
            assert state_of(last) is SubscriptionState.WAITING
            destination.held.set()
            await settled(last)
            assert (first.state, middle.state) == (SubscriptionState.ENDED, SubscriptionState.ENDED)
    assert destination.names == ["first", "second"]


async def test_an_end_does_not_wait_for_ever(
    destination: Destination, own: DurableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that hangs is given up after a while; what it did not answer is sent again."""
    monkeypatch.setattr(subscription_module, "FINISH_SECONDS", 0.5)
    own.append([record(Made("first"))])
    destination.held.clear()
    async with subscribed(destination, own) as subscription:
        await until(destination.arrived.is_set)
        async with asyncio.timeout(120):
            await subscription.end()
        assert state_of(subscription) is SubscriptionState.ENDED
        async with subscribed(destination, own) as again:
            destination.held.set()
            await settled(again)
    assert "first" in destination.names


async def test_close_stops_at_once(destination: Destination, own: DurableLog) -> None:
    """Nothing is waited for; the cursor stays where it was."""
    own.append([record(Made("first"))])
    destination.held.clear()
    async with subscribed(destination, own) as subscription:
        await until(destination.arrived.is_set)
        subscription.close()
        assert state_of(subscription) is SubscriptionState.ENDED
        assert own.cursor("otlp").position != own.end
