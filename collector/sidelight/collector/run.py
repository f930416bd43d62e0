"""`sidelight up`: the service in its event loop, and which destinations it has."""

from __future__ import annotations

import logging
import resource

import uvloop

from sidelight.collector import logs
from sidelight.collector.config import AnyDestination, Config, ConfigError
from sidelight.collector.log.log import LogError
from sidelight.collector.send import detect
from sidelight.collector.service import Service, ServiceError

_logger = logging.getLogger(__name__)

_FILES = 16384


def up(config: Config) -> int:
    """Serve until a signal; returns the exit code.

    0, or 1 if it cannot start, or 2 for what is wrong in the configuration.
    """
    logs.configure(config.logging.level, config.logging.format)
    _raise_file_limit()
    try:
        destinations = _destinations(config)
        uvloop.run(_serve(config, destinations))
    except (LogError, ServiceError) as error:
        _logger.error("%s", error)
        return 1
    except ConfigError as error:
        _logger.error("%s", error)
        return 2
    return 0


def _raise_file_limit() -> None:
    """Many connections need many files; the soft limit is often 1024 for no reason but age."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(config: Config, destinations: tuple[AnyDestination, ...]) -> None:
    await Service(config, destinations).run()


def _destinations(config: Config) -> tuple[AnyDestination, ...]:
    found = detect.destinations(config)
    if not found:
        looked = "no Phoenix answers on localhost:6006 and no Langfuse keys are set"
        why = looked if config.destinations is None else "destinations is empty"
        _logger.warning(
            "nothing is sent on: %s; what comes in is kept in %s; "
            "restart once there is a destination",
            why,
            config.log.directory,
        )
    return found
