"""Metric families: what every source of /metrics yields, and the spelling of its samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from sidelight.otlp.prometheus_names import spelled

FamilyType = Literal[
    "counter", "gauge", "histogram", "summary", "info", "stateset", "gaugehistogram", "unknown"
]

# What Prometheus stores of a name before UTF-8 names; others are respelled or refused, since
# Prometheus 2 fails a whole scrape for one bad name.
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(slots=True)
class Family:
    """One family; `name` as OpenMetrics has it (a counter's without `_total`).

    `body` holds the sample lines, each ended by a newline, valid in both formats.
    """

    name: str
    type: FamilyType
    help: str
    body: str


class Source(Protocol):
    """Whatever has families to expose; only histograms and counters may carry exemplars."""

    def families(self, *, exemplars: bool) -> Iterable[Family]:
        """The families as they stand now; those of one name are merged by the exposition."""


def number(value: float) -> str:
    """A sample value, or the canonical form of an `le` or `quantile`."""
    if type(value) is int:
        return str(value)
    return spelled(value)


def escape(text: str) -> str:
    """A label value, ready to stand between double quotes."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return text


def labels(pairs: Mapping[str, str]) -> str:
    """Labels without their braces; the names must be valid already."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in pairs.items())


def sample(name: str, label_text: str, value: str, exemplar: str = "") -> str:
    """One line with its newline."""
    if label_text:
        return f"{name}{{{label_text}}} {value}{exemplar}\n"
    return f"{name} {value}{exemplar}\n"


def exemplar(pairs: Mapping[str, str], value: float, time_seconds: float | None) -> str:
    """The exemplar's part of an OpenMetrics line, to follow the sample's value."""
    time = "" if time_seconds is None else f" {time_seconds:.3f}"
    return f" # {{{labels(pairs)}}} {number(value)}{time}"
