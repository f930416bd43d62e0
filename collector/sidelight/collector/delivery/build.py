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
from sidelight.collector.destinations.common.config import ConcurrentDestination
from sidelight.collector.destinations.common.outcome import Destination
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.destinations.file.exporter import FileWriter
from sidelight.collector.destinations.langfuse import exporter as langfuse
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.langfuse.scores import LangfuseScores
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.destinations.otlp_http import exporter as otlp
from sidelight.collector.destinations.otlp_http.config import OtlpDestination
from sidelight.collector.destinations.phoenix import exporter as phoenix
from sidelight.collector.destinations.phoenix.annotations import PhoenixAnnotations
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.prometheus_remote_write import exporter as remote_write
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.log.log import Log


class SendObserver(Observer, Protocol):
    """Who counts all that happens on the way from the log to the destinations."""

    def sampled(self, destination: str, decision: Decision) -> None:
        """Tail sampling decided on a trace."""

    def withheld(self, destination: str, reason: str, items: int) -> None:
        """The destination does not get `items` because its configuration says so."""


def forwarder(lane: Lane, log: Log, directory: Path, observer: SendObserver) -> Forwarder:
    """The forwarder of a lane, with its files below `directory`.

    Raises `ConfigError` as `build` does.
    """
    destination = build_lane(lane)
    withheld = partial(observer.withheld, destination.name)
    feed: Feed
    if lane.config.sample is None:
        feed = LogFeed(log, destination.signals, lane.selector(), withheld)
    else:
        feed = SampledFeed(
            log,
            destination.signals,
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
        concurrency=(
            lane.config.concurrency
            if isinstance(lane.config, ConcurrentDestination) and not lane.is_scores
            else 1
        ),
    )


def build_lane(lane: Lane) -> Destination:
    """Where a lane leads; nothing is connected yet. Raises `ConfigError` as `build` does."""
    return _scorer(lane.config) if lane.is_scores else build(lane.config)


def _scorer(config: AnyDestination) -> Destination:
    if isinstance(config, PhoenixDestination):
        return PhoenixAnnotations(config)
    assert isinstance(config, LangfuseDestination)
    return LangfuseScores(config)


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
        case OtlpGrpcDestination():
            # Only who uses it pays for it: 10 MB.
            from sidelight.collector.destinations.otlp_grpc import exporter as otlp_grpc

            return otlp_grpc.build(config)
        case RemoteWriteDestination():
            return remote_write.build(config)
        case FileDestination():
            return FileWriter(config)
