"""Makes the supervisor's plan, outside the supervisor.

Reading the configuration needs pydantic, which would stay in the supervisor's memory. The first
plan comes from `sidelight up`, which then becomes the supervisor. A reload's plan comes from a
process of its own, `python -m …workers plan [FILE]`: standard input holds the running plan, and
standard output gets the new one, as JSON. Faults of the configuration go to standard error, with
exit code 2.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import reloaded
from sidelight.collector.app.listeners import receiver_listeners
from sidelight.collector.app.run import reread
from sidelight.collector.destinations.registry import AnyDestination

_STANDARD_INPUT = 0
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


def hand_over(plan: dict[str, Any]) -> None:
    """Make `plan` the standard input of the program that replaces this one."""
    # Not an argument: it may be long, and arguments are visible to all users of the machine. Not a
    # file: the file system may be read-only. Not a pipe: a long plan would fill it.
    descriptor = os.memfd_create("sidelight-plan")
    with os.fdopen(descriptor, "w", closefd=False) as memory:
        json.dump(plan, memory)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, _STANDARD_INPUT)
    # It is the same one if `sidelight up` was started without any, and would close at exec.
    os.set_inheritable(_STANDARD_INPUT, True)


def from_json(plan: dict[str, Any]) -> tuple[Config, tuple[AnyDestination, ...]]:
    """The inverse of `to_json`."""
    return (
        Config.model_validate(plan["config"]),
        _DESTINATIONS.validate_python(plan["destinations"]),
    )


def make(path: Path | None, running: dict[str, Any]) -> dict[str, Any]:
    """The new plan. Its `waiting` names changed keys that need a restart.

    Raises `ConfigError`.
    """
    present, used = from_json(running)
    new, used = reread(path, present, used)
    config, waiting = reloaded(present, new)
    return {**to_json(config, used), "waiting": waiting}


def main(path: Path | None) -> int:
    """Make the plan of the configuration in `path`; returns the exit code."""
    try:
        plan = make(path, json.load(sys.stdin))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    json.dump(plan, sys.stdout)
    return 0
