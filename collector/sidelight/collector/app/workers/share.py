"""What one of several workers has of the whole."""

from __future__ import annotations

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.log.shares import folder_of
from sidelight.collector.receivers.scrape.config import Scrape


def share_of(
    config: Config,
    destinations: tuple[AnyDestination, ...],
    worker: int,
    ports: dict[str, int],
) -> tuple[Config, tuple[AnyDestination, ...]]:
    """The configuration of one worker, and its destinations.

    A log of its own with a share of the cap, and a share of each destination's pace, so that
    together they keep to what is configured. Scraping and dashboards are the first one's.
    """
    workers = config.workers
    log = config.log.model_copy(
        update={
            "directory": folder_of(config.log.directory, worker, workers),
            "max_bytes": config.log.max_bytes // workers,
            "keep_bytes": config.log.keep_bytes // workers,
        }
    )
    receive = {
        name: getattr(config.receive, name).model_copy(update={"port": port})
        for name, port in ports.items()
    }
    update: dict[str, object] = {"log": log}
    if worker > 0:
        receive["scrape"] = Scrape()
        update["dashboards"] = config.dashboards.model_copy(update={"directory": None})
    update["receive"] = config.receive.model_copy(update=receive)
    return (
        config.model_copy(update=update),
        tuple(_destination(each, worker, workers) for each in destinations),
    )


def _destination(destination: AnyDestination, worker: int, workers: int) -> AnyDestination:
    update: dict[str, object] = {}
    if destination.pace_items_per_second is not None:
        update["pace_items_per_second"] = destination.pace_items_per_second / workers
    if isinstance(destination, FileDestination):
        # Two processes that number and remove files in one folder would take each other's.
        update["directory"] = folder_of(destination.directory, worker, workers)
        update["routes"] = tuple(
            each.model_copy(update={"directory": folder_of(each.directory, worker, workers)})
            for each in destination.routes
        )
    return destination.model_copy(update=update)
