"""Auto-detects the destinations of a service without configured ones."""

from __future__ import annotations

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.registry import TYPES, AnyDestination, subscription_names
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.view import is_behind


def destinations(config: Config) -> tuple[AnyDestination, ...]:
    """The configured destinations or, without any, the detected ones.

    Each type of destination detects itself. Raises `ConfigError` if an environment variable
    that it reads cannot be used.
    """
    if config.destinations is not None:
        return config.destinations

    def has_backlog(destination: DestinationConfig) -> bool:
        # Routes and scores have cursors of their own.
        names = subscription_names(destination)
        try:
            return any(is_behind(config.log.directory, name) for name in names)
        except (OSError, LogError):
            # What is wrong with the folder is told when the log is opened.
            return False

    detected = (type_.detect(has_backlog) for type_ in TYPES.values() if type_.detect is not None)
    return tuple(destination for destination in detected if destination is not None)
