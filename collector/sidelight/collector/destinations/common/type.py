"""The interface of a type of destination: name, configuration, how to build and check it."""

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
    """Changes to the data selected for a destination.

    `mark_roots`: mark spans as roots if none of their ancestors is sent. `project_from`: the
    resource attribute that names the project, and the project of resources without it.
    """

    mark_roots: bool = False
    project_from: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class DestinationType:
    """One type of destination. The callables take an instance of `Config`.

    - `name`: the `type` in sidelight.yaml, and the name of the folder.
    - `build`: does not connect and reads no secret. Raises `ConfigError` for faults that only
      building shows.
    - `check`: the doctor's check. It takes the name to show, and stores nothing in the backend.
    - `page`: the folder's page of documentation.
    - `build_scores`: builds the exporter of scores.
    - `concurrency`, `scores_concurrency`: the number of requests at the same time.
    - `detect`: finds a destination that needs no configuration. Its argument tells whether the
      log still has undelivered data for a destination.
    - `share`: adapts a configuration to one of several workers (worker, workers).
    - `is_ordered`: batches that arrive out of order are lost in part, so a batch that fails is
      passed by others as late as possible.
    - `url_problem`: what is wrong with a URL of this type and what to write, as far as the URL
      alone shows it.
    - `packages`: packages that must be importable.
    """

    name: str
    Config: type[DestinationConfig]
    signals: Callable[[Any], tuple[Signal, ...]]
    build: Callable[[Any], Exporter]
    check: Callable[[str, Any], Awaitable[Check]]
    page: Path
    build_scores: Callable[[Any], Exporter] | None = None
    scores_concurrency: int = 1
    concurrency: Callable[[Any], int] = lambda _: 1
    selection: Callable[[Any], SelectionOptions] = lambda _: SelectionOptions()
    detect: Callable[[Callable[[DestinationConfig], bool]], DestinationConfig | None] | None = None
    share: Callable[[Any, int, int], DestinationConfig] = lambda config, _worker, _workers: config
    is_ordered: bool = False
    url_problem: Callable[[str], str | None] = lambda _: None
    packages: tuple[str, ...] = ()
