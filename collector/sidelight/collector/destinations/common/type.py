"""What a type of destination is: its name, its configuration, and how to build and check it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidelight.base.check import Check
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.otlp.signals import Signal


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """What a destination wants done to the data selected for it.

    `mark_roots`: mark spans whose ancestors are all withheld as roots. `project_from`: the
    resource attribute that names the project, and the project of resources without it.
    """

    mark_roots: bool = False
    project_from: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class DestinationType:
    """One type of destination; the callables take an instance of `Config`.

    `name` is the `type` in sidelight.yaml, and the folder's name. `build` connects to nothing
    and reads no secret; it raises `ConfigError` for what only shows then. `build_scores`
    builds the exporter of the score stream. `check` is the doctor's: it takes the name to
    show, and asks what can be asked without storing anything. `detect` finds a destination
    that needs no configuration; it takes a function that tells of a name whether the log still
    holds data for it. `share` adapts a configuration to one of several workers: worker, workers.
    `packages` must be importable.
    `page` is the folder's page of documentation.
    """

    name: str
    Config: type[DestinationConfig]
    signals: Callable[[Any], tuple[Signal, ...]]
    build: Callable[[Any], Exporter]
    check: Callable[[str, Any], Awaitable[Check]]
    page: Path
    build_scores: Callable[[Any], Exporter] | None = None
    concurrency: Callable[[Any], int] = lambda _: 1
    selection: Callable[[Any], SelectionOptions] = lambda _: SelectionOptions()
    detect: Callable[[Callable[[DestinationConfig], bool]], DestinationConfig | None] | None = None
    share: Callable[[Any, int, int], DestinationConfig] = lambda config, _worker, _workers: config
    packages: tuple[str, ...] = ()
