"""Metric families as data: what every source of /metrics yields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from sidelight.otlp.prometheus.values import Value

FamilyType = Literal[
    "counter", "gauge", "histogram", "summary", "info", "stateset", "gaugehistogram", "unknown"
]


@dataclass(slots=True)
class Series:
    """One series at this moment.

    `labels` is their text as an exposition has it, without braces: a series keeps it for all its
    life, so that neither a scrape nor a comparison of two series spells it again.
    """

    labels: str
    value: Value


@dataclass(slots=True)
class Family:
    """One family; `name` as OpenMetrics has it (a counter's without `_total`)."""

    name: str
    type: FamilyType
    help: str
    series: list[Series]


@dataclass(slots=True)
class ScrapedFamily:
    """A family of another server.

    `body` holds its sample lines, each ended by a newline, valid in both formats: nothing here
    needs their values, and taking apart and writing again the 10,000 lines of a vLLM server at
    each scrape would cost several times what copying them does.
    """

    name: str
    type: FamilyType
    help: str
    body: str


AnyFamily = Family | ScrapedFamily


class Source(Protocol):
    """Has families to expose."""

    def families(self) -> Iterable[AnyFamily]:
        """The families as they stand now; the exposition merges those of one name."""


def escaped(text: str) -> str:
    """A label value, ready to stand between double quotes."""
    # Most values need none of it, and three looks cost less than three copies.
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return text


def labels_text(pairs: Mapping[str, str]) -> str:
    """Labels without their braces; the names must be valid already."""
    return ",".join([f'{name}="{escaped(value)}"' for name, value in pairs.items()])
