"""From configured destinations to the forwarders that send to them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.feed import Feed, LogFeed
from sidelight.collector.delivery.forwarder import Forwarder, Observer
from sidelight.collector.delivery.lanes import Lane
from sidelight.collector.delivery.sampling.feed import SampledFeed
from sidelight.collector.delivery.sampling.sampler import Decision
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.collector.destinations.registry import type_of
from sidelight.collector.log.log import Log


class SendObserver(Observer, Protocol):
    """Who counts all that happens on the way from the log to the destinations."""

    def sampled(self, destination: str, decision: Decision) -> None:
        """Tail sampling decided on a trace."""

    def withheld(self, destination: str, reason: str, items: int) -> None:
        """The destination does not get `items` because its configuration says so."""


def forwarder(lane: Lane, log: Log, directory: Path, observer: SendObserver) -> Forwarder:
    """The forwarder of a lane, with its files below `directory`.

    Raises `ConfigError` as a type's `build` does.
    """
    destination = build_lane(lane)
    signals = frozenset(type_of(lane.config).signals(lane.config))
    withheld = partial(observer.withheld, destination.name)
    feed: Feed
    if lane.config.sample is None:
        feed = LogFeed(log, signals, lane.selector(), withheld)
    else:
        feed = SampledFeed(
            log,
            signals,
            lane.config.sample,
            selector=lane.selector(),
            directory=directory / "sampling",
            name=destination.name,
            withheld=withheld,
            decided=partial(observer.sampled, destination.name),
        )
    return Forwarder(
        destination,
        log,
        dead_letters=DeadLetters(directory / "dead-letters"),
        observer=observer,
        max_backoff_seconds=lane.config.max_backoff_seconds,
        feed=feed,
        concurrency=1 if lane.is_scores else type_of(lane.config).concurrency(lane.config),
    )


def build_lane(lane: Lane) -> Exporter:
    """Where a lane leads; nothing is connected yet. Raises `ConfigError` as a type's `build`."""
    destination = type_of(lane.config)
    if not lane.is_scores:
        return destination.build(lane.config)
    assert destination.build_scores is not None, f"{destination.name} has no scores"
    return destination.build_scores(lane.config)
