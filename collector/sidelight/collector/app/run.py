"""`sidelight up`: runs the service in an event loop, and reloads it on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import uvloop

from sidelight.base import logging_setup as logs
from sidelight.base.configuration.section import ConfigError
from sidelight.base.listening import ServiceError
from sidelight.base.signals import on_signal
from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.cut_short import refuse_if_cut_short
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.app.lifecycle import Service
from sidelight.collector.app.reload import MAX_RELOADS, report
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.log.errors import LogError
from sidelight.collector.receivers.registry import enabled

_logger = logging.getLogger(__name__)

# Three listeners of 1,024 connections, the log's segments and the destinations fit into it.
_OPEN_FILES = 16384
# A reload reads a file that did not change between two looks at it.
UNCHANGED_SECONDS = 0.1
_MAX_LOOKS = 20


def up(config: Config, path: Path | None) -> int:
    """Serve until a signal; SIGHUP reads `path` and the environment again.

    Returns the exit code: 0, 1 if the service cannot start, or 2 if the configuration has a
    fault.
    """
    for receiver_type, _ in enabled(config.receivers):
        for package in receiver_type.packages:
            # Before anything is started or logged, so that a missing package is the only message.
            # A receiver imports it when it needs it.
            if find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    if config.workers > 1:
        logs.configure(config.logging.level, config.logging.format)
        return exit_code(lambda: _become_supervisor(config, path))
    logs.configure(config.logging.level, config.logging.format)
    raise_file_limit()
    return exit_code(lambda: uvloop.run(_serve(config, destinations(config), path)))


def _become_supervisor(config: Config, path: Path | None) -> NoReturn:
    """Replace this program: the supervisor does without most of what is loaded by now."""
    from sidelight.collector.app.workers import plan

    plan.hand_over(plan.to_json(config, destinations(config)))
    # One that comes from now on waits until the supervisor has handlers for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    command = [sys.executable, "-m", "sidelight.collector.app.workers", "supervisor"]
    os.execv(sys.executable, [*command, str(path)] if path else command)  # noqa: S606 (as it should be)


def exit_code(serve: Callable[[], None]) -> int:
    """Run `serve` and return the exit code; logs why it could not start."""
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
    """Raise the soft limit of open files, within the hard one. Each connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The usual 1024 is for programs that use select(), which this one does not.
    target = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


async def _serve(
    config: Config, destinations: tuple[AnyDestination, ...], path: Path | None
) -> None:
    service = Service(config, destinations)
    reloads: set[asyncio.Task[None]] = set()

    def hang_up(_: signal.Signals) -> None:
        # The one that waits will read the newest file: more signals change nothing.
        if len(reloads) >= MAX_RELOADS:
            return
        task = asyncio.create_task(_reload(service, path))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    on_signal(signal.SIGHUP, hang_up)
    await service.run()


async def _reload(service: Service, path: Path | None) -> None:
    change = await service.reload(lambda: reread(path, service.config, service.destinations))
    if change is not None:
        report(change)


def reread(
    path: Path | None, running: Config, present: tuple[AnyDestination, ...]
) -> tuple[Config, tuple[AnyDestination, ...]]:
    """The current configuration and its destinations. An auto-detected destination stays.

    Raises `ConfigError`, also for a file that is empty or takes away by absence what is in use:
    editors truncate a file before they write it, and a full disk leaves half of one.
    """
    if path is not None:
        _wait_until_written(path)
    config = load(path)
    if path is not None:
        text = path.read_text()
        if not text.strip():
            raise ConfigError(f"{path}: empty; write {{}} for the defaults")
        refuse_if_cut_short(str(path), text, running, config)
    detected = detect.destinations(config)
    if config.destinations is None and running.destinations is None:
        # A known destination that is down now still gets what arrives until it is back.
        names = {destination.name for destination in detected}
        detected += tuple(known for known in present if known.name not in names)
    _warn_without(detected, config)
    return config, detected


def _wait_until_written(path: Path) -> None:
    """Return once the file has not changed for a moment. A copy writes a large one in parts."""
    with suppress(OSError):  # it is told when the file is read
        for _ in range(_MAX_LOOKS):
            before = path.stat()
            time.sleep(UNCHANGED_SECONDS)
            after = path.stat()
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                return


def destinations(config: Config) -> tuple[AnyDestination, ...]:
    """The destinations, including auto-detected ones. Logs a warning if there are none."""
    used = detect.destinations(config)
    _warn_without(used, config)
    return used


def _warn_without(used: tuple[AnyDestination, ...], config: Config) -> None:
    if used:
        return
    reason = (
        "no Phoenix on localhost:6006, no Langfuse keys in the environment"
        if config.destinations is None
        else "the list of destinations is empty"
    )
    _logger.warning(
        "no destination (%s): data is stored in %s and not delivered; "
        "configure one and reload (SIGHUP)",
        reason,
        config.log.directory,
    )
