"""Divides a configuration among workers."""

from __future__ import annotations

from collections.abc import Mapping

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.registry import AnyDestination, type_of
from sidelight.collector.receivers.common.config import ReceiverConfig
from sidelight.collector.receivers.common.type import ReceiverType
from sidelight.collector.receivers.registry import TYPES


def share_of(
    config: Config,
    destinations: tuple[AnyDestination, ...],
    worker: int,
    ports: dict[str, int],
) -> tuple[Config, tuple[AnyDestination, ...]]:
    """The configuration and the destinations of one worker.

    It gets a share of the log's size limits and of each destination's pace, so that all workers
    together observe what is configured. Only the first worker scrapes and writes dashboards.
    """
    workers = config.workers
    log = config.log.model_copy(
        update={
            "max_bytes": config.log.max_bytes // workers,
            "keep_bytes": config.log.keep_bytes // workers,
        }
    )
    receivers = {
        type_.name: _receiver(type_, getattr(config.receivers, type_.name), worker, workers, ports)
        for type_ in TYPES.values()
    }
    update: dict[str, object] = {
        "log": log,
        "receivers": config.receivers.model_copy(update=receivers),
    }
    if worker > 0:
        update["dashboards"] = config.dashboards.model_copy(update={"directory": None})
    return (
        config.model_copy(update=update),
        tuple(_destination(destination, worker, workers) for destination in destinations),
    )


def _receiver(
    receiver_type: ReceiverType,
    config: ReceiverConfig,
    worker: int,
    workers: int,
    ports: Mapping[str, int],
) -> ReceiverConfig:
    shared = receiver_type.share(config, worker, workers)
    # All workers listen on the port that the supervisor has reserved, also for a configured 0.
    port = ports.get(receiver_type.name)
    return shared if port is None else shared.model_copy(update={"port": port})


def _destination(destination: AnyDestination, worker: int, workers: int) -> AnyDestination:
    update: dict[str, object] = {}
    # A backend must not notice how many workers send.
    if destination.pace_items_per_second is not None:
        update["pace_items_per_second"] = destination.pace_items_per_second / workers
    shared = destination.model_copy(update=update)
    return type_of(shared).share(shared, worker, workers)
