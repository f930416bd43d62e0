"""From a subscription's configuration to the forwarder that works for it."""

from __future__ import annotations

from functools import partial

from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.feed import Feed, LogFeed
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.sampling.feed import SampledFeed
from sidelight.collector.delivery.status import Status
from sidelight.collector.delivery.store import Store
from sidelight.collector.delivery.subscription_config import SubscriptionConfig
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.collector.destinations.registry import type_of
from sidelight.otlp.signals import Signal


def build_forwarder(
    config: SubscriptionConfig,
    store: Store,
    observer: Observer,
    status: Status,
    *,
    stops_at_end: bool = False,
) -> Forwarder:
    """The forwarder that sends what is in `store`, with its files in the store's folder.

    `stops_at_end`: nobody appends to the store any more. Raises `ConfigError` as a type's
    `build` does.
    """
    exporter = build_exporter(config)
    destination = config.destination
    return Forwarder(
        exporter,
        store.log,
        dead_letters=DeadLetters(store.directory / "dead-letters"),
        observer=observer,
        max_backoff_seconds=destination.max_backoff_seconds,
        feed=_feed(config, store, observer, is_growing=not stops_at_end),
        concurrency=1 if config.is_scores else type_of(destination).concurrency(destination),
        status=status,
        stops_at_end=stops_at_end,
    )


def _feed(
    config: SubscriptionConfig, store: Store, observer: Observer, *, is_growing: bool
) -> Feed:
    withheld = partial(observer.withheld, config.name)
    if config.destination.sample is None:
        return LogFeed(store.log, signals_of(config), config.selector(), withheld)
    return SampledFeed(
        store.log,
        signals_of(config),
        config.destination.sample,
        selector=config.selector(),
        directory=store.directory / "sampling",
        name=config.name,
        withheld=withheld,
        decided=partial(observer.sampled, config.name),
        is_growing=is_growing,
    )


def build_exporter(config: SubscriptionConfig) -> Exporter:
    """What sends to the destination; nothing is connected yet. Raises `ConfigError`."""
    destination = type_of(config.destination)
    if not config.is_scores:
        return destination.build(config.destination)
    assert destination.build_scores is not None, f"{destination.name} has no scores"
    return destination.build_scores(config.destination)


def signals_of(config: SubscriptionConfig) -> frozenset[Signal]:
    """What it takes of the log; other records are passed over."""
    return frozenset(type_of(config.destination).signals(config.destination))
