"""`sidelight up`: the service in its event loop, and which destinations it has."""

from __future__ import annotations

import logging

import uvloop

from sidelight.collector import logs
from sidelight.collector.config import AnyDestination, Config, ConfigError
from sidelight.collector.log.log import LogError
from sidelight.collector.send import detect
from sidelight.collector.service import Service, ServiceError

_logger = logging.getLogger(__name__)


def up(config: Config) -> int:
    """Serve until a signal; returns the exit code: 0, or 1 if it cannot start."""
    logs.configure(config.logging.level, config.logging.format)
    try:
        destinations = _destinations(config)
        uvloop.run(_serve(config, destinations))
    except (LogError, ServiceError, ConfigError) as error:
        _logger.error("%s", error)
        return 1
    return 0


async def _serve(config: Config, destinations: tuple[AnyDestination, ...]) -> None:
    await Service(config, destinations).run()


def _destinations(config: Config) -> tuple[AnyDestination, ...]:
    found = detect.destinations(config)
    if not found:
        _logger.warning(
            "no destination is configured, no Phoenix answers on localhost:6006 and no Langfuse "
            "keys are set: what comes in is kept in %s until there is one",
            config.log.directory,
        )
    return found
