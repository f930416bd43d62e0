"""Makes the supervisor's plan in a process of its own: `python -m …workers plan [FILE]`.

Reading the configuration needs pydantic, which would stay in the supervisor's memory. Standard
input holds the running plan, or nothing. Standard output gets the new plan, as JSON. Faults of
the configuration go to standard error, with exit code 2.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import reloaded
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.app.listeners import receiver_listeners
from sidelight.collector.app.run import destinations, reread
from sidelight.collector.destinations.registry import AnyDestination

_DESTINATIONS: TypeAdapter[tuple[AnyDestination, ...]] = TypeAdapter(tuple[AnyDestination, ...])


def to_json(config: Config, used: tuple[AnyDestination, ...]) -> dict[str, Any]:
    """A configuration and its destinations as plain values. Secrets are references only."""
    return {
        "config": config.model_dump(mode="json"),
        "destinations": _DESTINATIONS.dump_python(used, mode="json"),
        "listeners": {
            listener.key.rpartition(".")[2]: {
                "title": listener.title,
                "host": listener.host,
                "port": listener.port,
            }
            for listener in receiver_listeners(config)
        },
    }


def from_json(plan: dict[str, Any]) -> tuple[Config, tuple[AnyDestination, ...]]:
    """The inverse of `to_json`."""
    return (
        Config.model_validate(plan["config"]),
        _DESTINATIONS.validate_python(plan["destinations"]),
    )


def make(path: Path | None, running: dict[str, Any] | None) -> dict[str, Any]:
    """The new plan. Its `waiting` names changed keys that need a restart.

    Raises `ConfigError`.
    """
    if running is None:
        config = load(path)
        return {**to_json(config, destinations(config)), "waiting": []}
    present, used = from_json(running)
    new, used = reread(path, present, used)
    config, waiting = reloaded(present, new)
    return {**to_json(config, used), "waiting": waiting}


def main(path: Path | None) -> int:
    """Make the plan of the configuration in `path`; returns the exit code."""
    # Not as an argument: it may be long, and arguments are visible to all users of the machine.
    text = sys.stdin.read()
    try:
        plan = make(path, json.loads(text or "null"))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    json.dump(plan, sys.stdout)
    return 0
