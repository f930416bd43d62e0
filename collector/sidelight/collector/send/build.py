"""From configured destinations to the forwarders that send to them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from sidelight.collector.config import (
    AnyDestination,
    LangfuseDestination,
    OtlpDestination,
    PhoenixDestination,
)
from sidelight.collector.log.log import Log
from sidelight.collector.send import langfuse, otlp, phoenix
from sidelight.collector.send.dead_letters import DeadLetters
from sidelight.collector.send.feed import LogFeed
from sidelight.collector.send.forwarder import Forwarder, Observer
from sidelight.collector.send.lanes import Lane, lanes
from sidelight.collector.send.outcome import Destination


class SendObserver(Observer, Protocol):
    """Who counts all that happens on the way from the log to the destinations."""

    def withheld(self, destination: str, reason: str, items: int) -> None:
        """The destination does not get `items` because its configuration says so."""


def forwarders(
    destinations: Iterable[AnyDestination],
    log: Log,
    *,
    dead_letters: DeadLetters,
    observer: SendObserver,
) -> list[Forwarder]:
    """A forwarder for each lane of each destination. Raises `ConfigError` as `build` does."""
    return [_forwarder(lane, log, dead_letters, observer) for lane in lanes(destinations)]


def _forwarder(
    lane: Lane, log: Log, dead_letters: DeadLetters, observer: SendObserver
) -> Forwarder:
    destination = build(lane.config)
    feed = LogFeed(
        log,
        destination.signals,
        lane.selector(),
        partial(observer.withheld, destination.name),
    )
    return Forwarder(
        destination,
        log,
        dead_letters=dead_letters,
        observer=observer,
        max_backoff_seconds=lane.config.max_backoff_seconds,
        feed=feed,
    )


def build(config: AnyDestination) -> Destination:
    """The destination; nothing is connected yet and no secret read.

    Raises `ConfigError` for a project or header name that HTTP cannot carry.
    """
    match config:
        case PhoenixDestination():
            return phoenix.build(config)
        case LangfuseDestination():
            return langfuse.build(config)
        case OtlpDestination():
            return otlp.build(config)
