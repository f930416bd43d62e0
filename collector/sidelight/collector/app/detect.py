"""The destinations of a service that has none configured: those that are auto-detected."""

from __future__ import annotations

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.registry import TYPES, AnyDestination, subscription_names
from sidelight.collector.log.view import is_behind


def destinations(config: Config) -> tuple[AnyDestination, ...]:
    """The configured destinations or, if the configuration has none, those detected.

    Each type of destination says how it is detected. Raises `ConfigError` if what it goes by
    (an environment variable) cannot be used.
    """
    if config.destinations is not None:
        return config.destinations

    def has_backlog(destination: DestinationConfig) -> bool:
        names = subscription_names(destination)
        return any(is_behind(config.log.directory, name) for name in names)

    detected = (each.detect(has_backlog) for each in TYPES.values() if each.detect is not None)
    return tuple(each for each in detected if each is not None)
