"""Which families /metrics shows: what was measured here, what was scraped, what was received.

The sources are kept apart. One that comes later in that order cannot hide or replace a series of
one before it, because senders choose their names and are not as trusted as configured targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from sidelight.collector.metrics.family import AnyFamily, Family, FamilyType, ScrapedFamily, Series

SourceName = Literal["own", "scraped", "received"]
Reason = Literal["type_conflict", "name_conflict", "reserved", "duplicate"]

# What OpenMetrics takes of the names for a family of each type. Two families that share one of
# them cannot both be on a valid page.
_SUFFIXES: Final[dict[FamilyType, tuple[str, ...]]] = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
    "info": ("", "_info"),
    "stateset": ("",),
    "gaugehistogram": ("", "_bucket", "_gsum", "_gcount"),
    "unknown": ("",),
}
_BOUND: Final = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
# Prometheus adds these to each target itself (https://prometheus.io/docs/concepts/jobs_instances/).
_OF_PROMETHEUS: Final = frozenset(
    {
        "up",
        "scrape_body_size_bytes",
        "scrape_duration_seconds",
        "scrape_sample_limit",
        "scrape_samples_post_metric_relabeling",
        "scrape_samples_scraped",
        "scrape_series_added",
        "scrape_timeout_seconds",
    }
)
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]++|\\.)*+)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Families:
    """The families of each source at this moment."""

    own: Iterable[AnyFamily] = ()
    scraped: Iterable[AnyFamily] = ()
    received: Iterable[AnyFamily] = ()

    def by_source(self) -> Iterator[tuple[SourceName, Iterable[AnyFamily]]]:
        """In the order of precedence."""
        yield "own", self.own
        yield "scraped", self.scraped
        yield "received", self.received


class Hidden(NamedTuple):
    """Series of one family that are left out of the page, and what has their name."""

    source: SourceName
    reason: Reason
    name: str
    type: FamilyType
    series: int
    shown: str


@dataclass(slots=True)
class Page:
    """What is shown, family by family, and what is not."""

    families: list[list[AnyFamily]] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)


class _Shown(NamedTuple):
    source: SourceName
    families: list[AnyFamily]


def arrange(families: Families) -> Page:
    """The families of all sources, those of one name and type together.

    Left out are a family whose name, or the name of one of its samples, belongs to another
    family (`type_conflict`, `name_conflict`), and of what was received each series that would
    pass for one of the collector's own (`reserved`) or repeats one of an earlier source
    (`duplicate`).
    """
    arranged = _Arranged()
    for source, of_source in families.by_source():
        for family in of_source:
            arranged.add(source, family)
    return Page([together.families for together in arranged.shown.values()], arranged.hidden)


class _Arranged:
    """The families so far, by name."""

    def __init__(self) -> None:
        self.shown: dict[str, _Shown] = {}
        self.hidden: list[Hidden] = []
        # The family of each name that is in use.
        self._owners: dict[str, str] = {}

    def add(self, source: SourceName, family: AnyFamily) -> None:
        together = self.shown.get(family.name)
        if together is not None and together.families[0].type != family.type:
            first = f"{family.name}, a {together.families[0].type}"
            self.hidden.append(_hidden(source, "type_conflict", family, first))
            return
        names = [family.name + suffix for suffix in _SUFFIXES[family.type]]
        if together is None:
            owner = next((self._owners[name] for name in names if name in self._owners), None)
            if owner is not None:
                self.hidden.append(_hidden(source, "name_conflict", family, owner))
                return
        if source == "received" and isinstance(family, Family):
            family = _told_apart(family, together, self.hidden)
            if not family.series:
                return
        if together is None:
            self._owners |= dict.fromkeys(names, family.name)
            self.shown[family.name] = _Shown(source, [family])
        else:
            together.families.append(family)


def _hidden(source: SourceName, reason: Reason, family: AnyFamily, shown: str) -> Hidden:
    series = family.body.count("\n") if isinstance(family, ScrapedFamily) else len(family.series)
    return Hidden(source, reason, family.name, family.type, series, shown)


def _told_apart(family: Family, together: _Shown | None, hidden: list[Hidden]) -> Family:
    """The series of a received family that cannot be mistaken for those of other sources."""
    kept = family.series
    is_own = together is not None and together.source == "own"
    if is_own or family.name in _OF_PROMETHEUS:
        # Nobody but a collector makes these, and sums over them must stay this collector's.
        is_sidelight = is_own and family.name.startswith("sidelight_")
        # Without job and instance Prometheus adds its own, which are those of this collector.
        kept = [] if is_sidelight else [series for series in kept if _is_identified(series.labels)]
        _note(hidden, "reserved", family, len(family.series) - len(kept))
    if together is not None and kept:
        before = _label_sets(kept, together.families)
        unique = [
            series for series in kept if frozenset(_LABEL.findall(series.labels)) not in before
        ]
        _note(hidden, "duplicate", family, len(kept) - len(unique))
        kept = unique
    if len(kept) == len(family.series):
        return family
    return Family(family.name, family.type, family.help, kept)


def _note(hidden: list[Hidden], reason: Reason, family: Family, series: int) -> None:
    if series:
        shown = "a series of another source"
        hidden.append(Hidden("received", reason, family.name, family.type, series, shown))


def _is_identified(labels: str) -> bool:
    names = {name for name, _ in _LABEL.findall(labels)}
    return {"job", "instance"} <= names


def _label_sets(
    received: list[Series], families: Iterable[AnyFamily]
) -> set[frozenset[tuple[str, str]]]:
    """The label sets of series that may equal one of `received`, in whichever order they are."""
    instances = [_instance(series.labels) for series in received]
    label_sets: set[frozenset[tuple[str, str]]] = set()
    for family in families:
        if isinstance(family, Family):
            label_sets.update(frozenset(_LABEL.findall(series.labels)) for series in family.series)
        # Taking apart the 10,000 lines of a vLLM server takes 30 ms; finding a text takes none.
        elif any(instance in family.body for instance in instances):
            bound = _BOUND.get(family.type)
            for line in family.body.split("\n"):
                pairs = _LABEL.findall(line)
                label_sets.add(frozenset(pair for pair in pairs if pair[0] != bound))
    return label_sets


def _instance(labels: str) -> str:
    """The label `instance` as it is written, or an empty text, which every text contains."""
    return next(
        (f'{name}="{value}"' for name, value in _LABEL.findall(labels) if name == "instance"), ""
    )
