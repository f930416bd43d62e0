"""From a subscription's configuration to the forwarder that works for it."""

from __future__ import annotations

from functools import partial

from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.feed import Feed, LogFeed
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.sampling.feed import SampledFeed
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.delivery.subscription_config import SubscriptionConfig
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.collector.destinations.registry import type_of
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.durable_log import DurableLog
from sidelight.otlp.signals import Signal


def build_forwarder(
    config: SubscriptionConfig, log: DurableLog, observer: Observer, status: DeliveryStatus
) -> Forwarder:
    """The forwarder that sends what is in the log, with its files in the log's directories.

    Raises `ConfigError` as a type's `build` does.
    """
    exporter = build_exporter(config)
    destination = config.destination
    cursor = log.cursor(config.name)
    return Forwarder(
        exporter,
        cursor,
        dead_letters=DeadLetters(log.directory_for("dead-letters")),
        observer=observer,
        max_backoff_seconds=destination.max_backoff_seconds,
        max_blocked_seconds=destination.max_blocked_seconds,
        feed=_feed(config, log, cursor, observer),
        concurrency=_concurrency(config),
        is_ordered=type_of(destination).is_ordered,
        status=status,
    )


def _concurrency(config: SubscriptionConfig) -> int:
    destination = type_of(config.destination)
    if config.is_scores:
        return destination.scores_concurrency
    return destination.concurrency(config.destination)


def _feed(config: SubscriptionConfig, log: DurableLog, cursor: Cursor, observer: Observer) -> Feed:
    # Counted where it is decided: what is withheld never reaches the delivery.
    withheld = partial(observer.withheld, config.name)
    if config.destination.sample is None:
        # Scores are sent one by one, and Prometheus takes nothing of a request with an old sample.
        joins = not (config.is_scores or type_of(config.destination).is_ordered)
        return LogFeed(cursor, signals_of(config), config.selector(), withheld, joins=joins)
    return SampledFeed(
        cursor,
        signals_of(config),
        config.destination.sample,
        selector=config.selector(),
        directory=log.directory_for("sampling"),
        # Another number of workers must not decide again on traces that were decided.
        leftovers=log.leftover_directories_for("sampling"),
        withheld=withheld,
        decided=partial(observer.sampled, config.name),
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
