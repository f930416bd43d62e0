"""The composition root: builds every part of a collector from its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidelight import conventions as c
from sidelight.base.http_server import HttpServer
from sidelight.collector.app import probes
from sidelight.collector.app.access import (
    AccessMetrics,
    ServeAccess,
    sender_guard,
    warn_of_open_listeners,
)
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.delivery_metrics import DeliveryMetrics
from sidelight.collector.app.health import Health
from sidelight.collector.app.retention import Retention
from sidelight.collector.app.self_metrics import SelfMetrics
from sidelight.collector.delivery.deliveries import Deliveries
from sidelight.collector.delivery.replays import Replays
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.ingest.intake import Intake
from sidelight.collector.log.duplicates import MAX_RECOVERED_BYTES, Duplicates
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.family import AnyFamily, Source
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.processors import build as processors
from sidelight.collector.receivers.common.admission import Admission
from sidelight.collector.receivers.common.type import Receiver, ReceiverContext, ReceiverType
from sidelight.collector.receivers.registry import enabled
from sidelight.otlp.repetition import is_repetition


@dataclass(frozen=True, slots=True)
class ConfiguredReceiver:
    """A built receiver and its type."""

    type: ReceiverType
    receiver: Receiver


class Sources:
    """The metric families that receivers add to /metrics, as one `Source`."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def families(self) -> Iterable[AnyFamily]:
        """All families, in the order of the receivers."""
        for source in self._sources:
            yield from source.families()


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a collector, built and not yet started."""

    registry: Registry
    log: DurableLog
    writer: LogWriter
    intake: Intake
    receivers: tuple[ConfiguredReceiver, ...]
    scraped: Sources
    received: ReceivedMetrics
    deliveries: Deliveries
    retention: Retention
    replays: Replays
    self_metrics: SelfMetrics
    health: Health
    serve: HttpServer


@dataclass(slots=True)
class CurrentConfig:
    """The configuration in use; a reload replaces it."""

    config: Config


def assemble(
    current: CurrentConfig,
    destinations: Sequence[AnyDestination],
    *,
    worker: int | None,
    hash_key: bytes,
) -> Parts:
    """Build all parts; needs a running event loop.

    A `worker` of several shares its ports with the others and has a part of the log.
    `hash_key`: the key of the content policy `hashed`, unless the configuration has one.

    Raises `LogError` if the log folder cannot be used, and `ConfigError` for faults that only
    building shows.
    """
    config = current.config
    registry = Registry()
    access = AccessMetrics(registry)
    # One guard for all receivers, so that tokens are read, and rotated, only once.
    guard = sender_guard(config)
    delivery_metrics = DeliveryMetrics(registry)
    received = ReceivedMetrics(registry)
    log = DurableLog(
        config.log.directory,
        segment_bytes=config.log.segment_bytes,
        worker=worker or 0,
        workers=config.workers,
    )
    deliveries = Deliveries(log, delivery_metrics)
    # The writer wakes deliveries after each append, so nothing polls the log.
    writer = LogWriter(
        log,
        max_pending_bytes=config.log.max_pending_bytes,
        encoding="gzip" if config.log.compression == "gzip" else "identity",
        appended=deliveries.wake,
    )
    storage = Duplicates(
        writer,
        seconds=config.log.dedupe_seconds,
        is_repetition=is_repetition,
        # A sender that got no answer before a crash sends again after the restart.
        recovered=log.newest(MAX_RECOVERED_BYTES),
    )
    pipeline = processors.build(config.processors, hash_key)
    intake = Intake(storage, registry, received, pipeline, config.metrics)
    receivers = _receivers(
        config,
        ReceiverContext(
            intake=intake,
            registry=registry,
            admission=Admission(guard, access.unauthorized),
            requests=registry.counter(c.COLLECTOR_REQUESTS, ("protocol", "outcome")),
            failed_handshake=access.failed_handshake,
            shares_port=worker is not None,
            http_apis=[
                receiver_type.http_api
                for receiver_type, _ in enabled(config.receivers)
                if receiver_type.http_api is not None
            ],
        ),
    )
    # Workers have the same listeners: one warning is enough.
    if not worker:
        warn_of_open_listeners(config, has_credentials=not guard.is_open)
    sources = (configured.receiver.source() for configured in receivers)
    scraped = Sources([source for source in sources if source is not None])
    retention = Retention(
        log,
        deliveries,
        delivery_metrics,
        # Read at each pass: a reload changes them.
        options=lambda: current.config.log,
        is_in_trouble=lambda: writer.trouble is not None,
    )
    self_metrics = SelfMetrics(
        registry, [configured.receiver for configured in receivers], writer, deliveries, log
    )
    exposition = Exposition(
        lambda: Families(registry.families(), scraped.families(), received.families())
    )
    health = Health(writer, deliveries, exposition, self_metrics.refresh)
    serve_access = ServeAccess(config.serve, access)
    serve = HttpServer(
        probes.handler(health, serve_access.is_reader),
        probes.limits(),
        admit=serve_access.admit(),
        tls=serve_access.tls(),
    )
    # Last: it starts the first sends, and everything before it can fail.
    deliveries.apply(destinations)
    return Parts(
        registry=registry,
        log=log,
        writer=writer,
        intake=intake,
        receivers=receivers,
        scraped=scraped,
        received=received,
        deliveries=deliveries,
        retention=retention,
        replays=Replays(log, deliveries),
        self_metrics=self_metrics,
        health=health,
        serve=serve,
    )


def _receivers(config: Config, context: ReceiverContext) -> tuple[ConfiguredReceiver, ...]:
    """The enabled receivers, except APIs on the port of another receiver."""
    return tuple(
        ConfiguredReceiver(receiver_type, receiver_type.build(section, context))
        for receiver_type, section in enabled(config.receivers)
        if receiver_type.build is not None
    )
