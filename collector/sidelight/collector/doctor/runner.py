"""`sidelight doctor`: runs the checks of all configured parts at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from sidelight.base import ports
from sidelight.base.check import Check, on_thread
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.delivery.subscription_config import subscription_configs
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.doctor import (
    clock,
    configuration,
    credentials,
    destinations,
    disk,
    packages,
    running_collector,
)
from sidelight.collector.receivers.common.type import CheckContext, Look
from sidelight.collector.receivers.registry import enabled

TIMEOUT_SECONDS = 3.0
# Requests have timeouts of their own. A check that waits for a disk has none.
_MAX_SECONDS = 15.0
_HANGS = "Check this machine's disks and name servers: one of them hangs."


def run(config: Config, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Check]:
    """All checks, run at the same time. Each request waits at most `timeout_seconds`."""
    try:
        configs = subscription_configs(detect.destinations(config))
    except ConfigError as error:
        return [Check("configuration", "fail", str(error), "Correct it, then run doctor again.")]
    # A route is checked like a destination: its keys and address are its own.
    used = tuple(config.destination for config in configs if not config.is_scores)
    return asyncio.run(_run(config, used, timeout_seconds))


async def _run(
    config: Config, used: tuple[AnyDestination, ...], timeout_seconds: float
) -> list[Check]:
    # First, because other checks need it: a port in use is fine if this Sidelight uses it.
    running = await running_collector.look(config.serve, timeout_seconds)
    exposition = None if running is None else running.exposition
    context = CheckContext(timeout_seconds, running is not None, exposition)
    serve = config.serve
    serve_port = partial(ports.check, "serve", serve.host, serve.port, running=context.is_running)
    looks: list[Look] = [
        ("configuration", on_thread(partial(configuration.check, config, used))),
        ("packages", on_thread(partial(packages.check, config, used))),
        (credentials.NAME, on_thread(partial(credentials.check, config))),
        ("disk", on_thread(partial(disk.check, config.log))),
        *(
            look
            for receiver_type, section in enabled(config.receivers)
            for look in receiver_type.looks(section, context)
        ),
        ("serve", on_thread(serve_port)),
        *(
            (destination.name, partial(destinations.check, destination, timeout_seconds))
            for destination in used
        ),
        ("clock", partial(clock.check, used, timeout_seconds)),
    ]
    return await _all_at_once(looks)


async def _all_at_once(looks: list[Look]) -> list[Check]:
    checks = [asyncio.create_task(_check(name, look)) for name, look in looks]
    await asyncio.wait(checks, timeout=_MAX_SECONDS)
    return [
        task.result() if task.done() else Check(name, "fail", "no result in time", _HANGS)
        for (name, _), task in zip(looks, checks, strict=True)
    ]


async def _check(name: str, look: Callable[[], Awaitable[Check]]) -> Check:
    try:
        return await look()
    except Exception as error:  # noqa: BLE001 (a fault of one check must not hide the others)
        return Check(name, "fail", f"the check itself failed: {type(error).__name__}: {error}")
