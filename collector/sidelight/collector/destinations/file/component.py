"""Files in a folder as a type of destination."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.file.check import check
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.destinations.file.exporter import FileWriter


def _share(config: FileDestination, worker: int, workers: int) -> FileDestination:
    """Give each worker its own folder: two would number and delete each other's files."""
    if workers == 1:
        return config
    name = f"worker-{worker}"
    return config.model_copy(
        update={
            "directory": config.directory / name,
            "routes": tuple(
                route.model_copy(update={"directory": route.directory / name})
                for route in config.routes
            ),
        }
    )


FILE = DestinationType(
    name="file",
    Config=FileDestination,
    signals=lambda config: config.signals,
    build=FileWriter,
    check=check,
    share=_share,
    page=Path(__file__).with_name("page.md"),
)
