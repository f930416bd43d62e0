"""`sidelight up`: the service in its event loop, and which destinations it has."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import uvloop

from sidelight.base import logging_setup as logs
from sidelight.base.configuration.section import ConfigError
from sidelight.base.listening import ServiceError
from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.app.lifecycle import Service
from sidelight.collector.app.reload import MAX_RELOADS, report
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.log.errors import LogError
from sidelight.collector.receivers.registry import enabled

_logger = logging.getLogger(__name__)

_FILES = 16384


def up(config: Config, path: Path | None) -> int:
    """Serve until a signal; SIGHUP reads `path` and the environment again.

    Returns the exit code: 0, or 1 if it cannot start, or 2 for what is wrong in the
    configuration.
    """
    if config.workers > 1:
        # The process stays, what it has loaded goes.
        command = [sys.executable, "-m", "sidelight.collector.app.workers"]
        os.execv(sys.executable, [*command, str(path)] if path else command)  # noqa: S606 (as it should be)
    for receiver_type, _ in enabled(config.receivers):
        for package in receiver_type.packages:
            # Now, so that nothing is logged or started where a package is missing.
            import_module(package)
    logs.configure(config.logging.level, config.logging.format)
    raise_file_limit()
    return exit_code(lambda: uvloop.run(_serve(config, destinations(config), path)))


def exit_code(serve: Callable[[], None]) -> int:
    """What a process that serves ends with; why it could not is logged."""
    try:
        serve()
    except KeyboardInterrupt:
        _logger.info("interrupted while starting")
    except (LogError, ServiceError) as error:
        _logger.error("%s", error)
        return 1
    except ConfigError as error:
        _logger.error("%s", error)
        return 2
    return 0


def raise_file_limit() -> None:
    """Many connections need many files; the soft limit is often 1024 for no reason but age."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(config: Config, found: tuple[AnyDestination, ...], path: Path | None) -> None:
    service = Service(config, found)
    reloads: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        if len(reloads) >= MAX_RELOADS:
            return
        task = asyncio.create_task(_reload(service, path))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
    await service.run()


async def _reload(service: Service, path: Path | None) -> None:
    change = await service.reload(lambda: reread(path, service.config, service.destinations))
    if change is not None:
        report(change)


def reread(
    path: Path | None, running: Config, present: tuple[AnyDestination, ...]
) -> tuple[Config, tuple[AnyDestination, ...]]:
    """What is configured now. An auto-detected destination stays.

    Raises `ConfigError`, also for an empty file: editors and tools empty a file before they
    write it, and its defaults would take every destination away.
    """
    config = load(path)
    if path is not None and not path.read_text().strip():
        raise ConfigError(f"{path}: is empty; write {{}} for the defaults")
    found = detect.destinations(config)
    if config.destinations is None and running.destinations is None:
        # It may just be down, and what is received until it is back must be kept for it.
        names = {each.name for each in found}
        found += tuple(each for each in present if each.name not in names)
    return config, found


def destinations(config: Config) -> tuple[AnyDestination, ...]:
    """Where data goes, auto-detected destinations included; without any a warning is logged."""
    found = detect.destinations(config)
    if not found:
        looked = "no Phoenix answers on localhost:6006 and no Langfuse keys are set"
        why = looked if config.destinations is None else "destinations is empty"
        _logger.warning(
            "nothing is delivered: %s; data is kept in %s; "
            "reload (SIGHUP) or restart once a destination is configured",
            why,
            config.log.directory,
        )
    return found
