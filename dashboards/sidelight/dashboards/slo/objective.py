"""One objective as data, and what a file of objectives must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from sidelight.dashboards.catalog.metric import RESULT_LABELS, Dimension
from sidelight.dashboards.slo.indicators import INDICATORS, Indicator
from sidelight.dashboards.view import LabelMatch, View

DEFAULT_FILE: Final = Path(__file__).with_name("slo.yaml")
MAX_WINDOW_DAYS: Final = 90

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_DAYS: Final = re.compile(r"(\d+)d")
# Below this many events in the long window a share says nothing.
_DEFAULT_MINIMUM: Final = 50


class ObjectiveError(ValueError):
    """A file of objectives has a fault; the message says which, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Objective:
    """That `share` of the events of an indicator are good, over a number of days.

    `threshold` is in seconds, for indicators of time. With fewer than `minimum_events` in a
    window nothing is said about it. `required` objectives alert when their metric is absent.
    """

    name: str
    indicator: Indicator
    share: float
    threshold: float | None = None
    days: int = 30
    minimum_events: float = _DEFAULT_MINIMUM
    required: bool = True
    filters: Mapping[Dimension, LabelMatch | str] = field(default_factory=dict, hash=False)

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return 1 - self.share

    @property
    def promise(self) -> str:
        """In words: `99% within 1 s`."""
        within = f" within {self.threshold:g} s" if self.threshold is not None else ""
        return f"{self.share * 100:.10g}%{within}"

    def view(self, window: str) -> View:
        """The series it is about."""
        return View(self.filters, window, self.indicator.by)


def read_objectives(path: Path = DEFAULT_FILE) -> tuple[Objective, ...]:
    """The objectives of a file. Raises `ObjectiveError`, and `OSError` if it cannot be read."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ObjectiveError(f"{path}: not YAML: {error}; correct the file") from None
    entries = document.get("objectives") if isinstance(document, dict) else None
    if not isinstance(entries, list) or set(document) != {"objectives"}:
        raise ObjectiveError(f"{path}: one key `objectives` with a list is expected; write that")
    objectives = []
    for number, entry in enumerate(entries, start=1):
        name = entry.get("name", number) if isinstance(entry, dict) else number
        try:
            objectives.append(_objective(entry))
        except ObjectiveError as error:
            raise ObjectiveError(f"{path}: objective {name}: {error}") from None
    names = [objective.name for objective in objectives]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ObjectiveError(f"{path}: {', '.join(sorted(twice))} is there twice; rename one")
    return tuple(objectives)


def _objective(entry: Any) -> Objective:
    if not isinstance(entry, dict):
        raise ObjectiveError("a mapping is expected; begin with `name:`")
    _require_keys(entry)
    name = str(entry["name"])
    if not _NAME.fullmatch(name):
        raise ObjectiveError("the name may have small letters, digits and hyphens; rename it")
    indicator = INDICATORS.get(str(entry["indicator"]))
    if indicator is None:
        known = ", ".join(INDICATORS)
        raise ObjectiveError(f"the indicator {entry['indicator']} is unknown; use one of {known}")
    return Objective(
        name,
        indicator,
        _share(entry["objective"]),
        _threshold(entry.get("threshold"), indicator),
        _window_days(str(entry.get("window", "30d"))),
        _minimum(entry.get("minimum_events", _DEFAULT_MINIMUM)),
        bool(entry.get("required", True)),
        _filters(entry.get("filters", {})),
    )


_REQUIRED: Final = {"name", "indicator", "objective"}
_OPTIONAL: Final = {"threshold", "window", "minimum_events", "required", "filters"}


def _require_keys(entry: Mapping[str, Any]) -> None:
    if missing := _REQUIRED - entry.keys():
        raise ObjectiveError(f"{', '.join(sorted(missing))} is missing; add it")
    if unknown := entry.keys() - _REQUIRED - _OPTIONAL:
        known = ", ".join(sorted(_REQUIRED | _OPTIONAL))
        raise ObjectiveError(f"unknown key {', '.join(sorted(unknown))}; known are {known}")


def _share(value: Any) -> float:
    text = str(value)
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0
    if not 0 < share < 1:
        raise ObjectiveError(f"the objective {text} is no share below 100 %; write it like 99.5%")
    return share


def _threshold(value: Any, indicator: Indicator) -> float | None:
    if not indicator.histograms:
        if value is not None:
            raise ObjectiveError("this indicator takes no time; delete `threshold`")
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ObjectiveError("`threshold` is missing or no number; give the seconds")
    if not indicator.bounded_by(value):
        raise ObjectiveError(
            f"no exported bucket ends at {value:g} s, so nobody can count what is slower; "
            f"use one of {indicator.nearest_bounds(value)}"
        )
    return float(value)


def _window_days(text: str) -> int:
    days = _DAYS.fullmatch(text)
    if days is None or not 1 <= int(days[1]) <= MAX_WINDOW_DAYS:
        raise ObjectiveError(
            f"the window {text} is not one of 1d to {MAX_WINDOW_DAYS}d; write it like 30d"
        )
    return int(days[1])


def _minimum(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 1:
        raise ObjectiveError("`minimum_events` must be a number of at least 1; correct it")
    return float(value)


def _filters(value: Any) -> dict[Dimension, LabelMatch | str]:
    if not isinstance(value, dict) or (unknown := value.keys() - RESULT_LABELS.keys()):
        wrong = ", ".join(sorted(unknown)) if isinstance(value, dict) else str(value)
        raise ObjectiveError(f"unknown filter {wrong}; known are {', '.join(RESULT_LABELS)}")
    return {dimension: str(label) for dimension, label in value.items()}
