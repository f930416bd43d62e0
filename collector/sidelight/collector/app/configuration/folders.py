"""Finds folders of a configuration that cannot be written; nothing is created."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sidelight.base.configuration.yaml_file import KeyPath
from sidelight.base.writable import look, sentence
from sidelight.collector.app.configuration.config import Config


def unusable(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """The key of each folder that the collector could not write, and why."""
    for key, directory in _folders(config):
        if (error := look(directory)) is not None:
            yield key, sentence(directory, error, ".".join(map(str, key)))


def _folders(config: Config) -> Iterator[tuple[KeyPath, Path]]:
    yield ("log", "directory"), config.log.directory
    if config.dashboards.directory is not None:
        yield ("dashboards", "directory"), config.dashboards.directory
    for number, destination in enumerate(config.destinations or ()):
        directory = getattr(destination, "directory", None)
        if isinstance(directory, Path):
            yield ("destinations", number, "directory"), directory
