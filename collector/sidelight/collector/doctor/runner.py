"""`sidelight doctor`: look at each configured part and say what to do about what is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from sidelight.base import ports
from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.delivery.lanes import lanes
from sidelight.collector.doctor import (
    clock,
    configuration,
    credentials,
    destinations,
    disk,
    own,
    packages,
)
from sidelight.collector.receivers.common.type import CheckContext, Look
from sidelight.collector.receivers.registry import enabled

TIMEOUT_SECONDS = 3.0
# Beyond the requests' own timeouts: only the system's resolver can hang longer.
_PATIENCE_SECONDS = 15.0


def run(config: Config, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Check]:
    """All checks, made at the same time; each request waits at most `timeout_seconds`."""
    try:
        found = lanes(detect.destinations(config))
    except ConfigError as error:
        return [Check("configuration", "fail", str(error), "Correct it and run this again.")]
    used = tuple(lane.config for lane in found if not lane.is_scores)
    running = own.look(config.serve, timeout_seconds)
    exposition = None if running is None else running.exposition
    context = CheckContext(timeout_seconds, running is not None, exposition)
    serve = config.serve
    serve_port = partial(ports.check, "serve", serve.host, serve.port, running=context.is_running)
    looks: list[Look] = [
        ("configuration", partial(configuration.check, config, used)),
        ("packages", partial(packages.check, config, used)),
        (credentials.NAME, partial(credentials.check, config)),
        ("disk", partial(disk.check, config.log)),
        *(
            look
            for receiver_type, section in enabled(config.receivers)
            for look in receiver_type.looks(section, context)
        ),
        ("serve", serve_port),
        *((each.name, partial(destinations.check, each, timeout_seconds)) for each in used),
        ("clock", partial(clock.check, used, timeout_seconds)),
    ]
    return _all_at_once(looks)


def _all_at_once(looks: list[Look]) -> list[Check]:
    results: dict[int, Check] = {}

    def work(place: int, name: str, look: Callable[[], Check]) -> None:
        try:
            results[place] = look()
        except Exception as error:  # noqa: BLE001 (one check's fault must not hide the others)
            results[place] = Check(
                name, "fail", f"the check itself failed: {type(error).__name__}: {error}"
            )

    threads = [
        threading.Thread(target=work, args=(place, name, look), daemon=True)
        for place, (name, look) in enumerate(looks)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [
        results.get(place)
        or Check(name, "fail", "no result in time", "See whether the DNS of this machine answers.")
        for place, (name, _) in enumerate(looks)
    ]
