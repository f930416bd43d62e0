"""The metrics of one worker, in a form that can be sent to the supervisor and merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sidelight.collector.metrics.family import AnyFamily, Family, FamilyType, ScrapedFamily, Series
from sidelight.otlp.prometheus.values import (
    Exemplar,
    HistogramValue,
    NumberValue,
    SummaryValue,
    Value,
)


@dataclass(slots=True)
class SeriesSnapshot:
    """One series received by OTLP: `seen` on the machine's monotonic clock.

    Deltas add up over workers; of anything else the newest state counts. `metric` is name and
    unit as the sender has them.
    """

    series: Series
    metric: str
    seen: float
    is_delta: bool


@dataclass(slots=True)
class FamilySnapshot:
    """A family received by OTLP; `name`, `type` and `help` as in `Family`."""

    name: str
    type: FamilyType
    help: str
    series: list[SeriesSnapshot] = field(default_factory=list)


@dataclass(slots=True)
class Snapshot:
    """The families of one process: its own, those it scraped, and those it received."""

    own: list[Family] = field(default_factory=list)
    scraped: list[AnyFamily] = field(default_factory=list)
    received: list[FamilySnapshot] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain values: lists in the order of the fields, because there are thousands."""
        return {
            "own": [_plain_family(family) for family in self.own],
            "scraped": [_plain_family(family) for family in self.scraped],
            "received": [
                [
                    family.name,
                    family.type,
                    family.help,
                    [
                        [
                            kept.series.labels,
                            _plain(kept.series.value),
                            kept.metric,
                            kept.seen,
                            kept.is_delta,
                        ]
                        for kept in family.series
                    ],
                ]
                for family in self.received
            ],
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Snapshot:
        """The inverse of `to_json`."""
        return cls(
            [_own_family(*family) for family in plain["own"]],
            [
                ScrapedFamily(*family) if isinstance(family[-1], str) else _own_family(*family)
                for family in plain["scraped"]
            ],
            [
                FamilySnapshot(
                    name,
                    type_,
                    help_,
                    [
                        SeriesSnapshot(Series(labels, _value(value)), metric, seen, is_delta)
                        for labels, value, metric, seen, is_delta in series
                    ],
                )
                for name, type_, help_, series in plain["received"]
            ],
        )


def _plain_family(family: AnyFamily) -> list[Any]:
    """The last entry is a text for what is kept as one, and else a list."""
    if isinstance(family, ScrapedFamily):
        return [family.name, family.type, family.help, family.body]
    series = [[shown.labels, _plain(shown.value)] for shown in family.series]
    return [family.name, family.type, family.help, series]


def _own_family(name: str, type_: FamilyType, help_: str, series: list[Any]) -> Family:
    return Family(name, type_, help_, [Series(labels, _value(value)) for labels, value in series])


def _plain(value: Value) -> Any:
    """A number alone as it is; what has more parts as a list that begins with its kind."""
    # Most values are a number without exemplars: alone it is a third as long.
    if isinstance(value, NumberValue):
        return ["n", value.value, value.exemplars] if value.exemplars else value.value
    if isinstance(value, HistogramValue):
        exemplars = list(value.exemplars.items())
        return ["h", value.bounds, value.counts, value.sum, exemplars]
    return ["s", value.quantiles, value.count, value.sum]


def _value(plain: Any) -> Value:
    match plain:
        case ["n", number, exemplars]:
            return NumberValue(number, _exemplars(exemplars))
        case ["h", bounds, counts, total, exemplars]:
            return HistogramValue(
                tuple(bounds),
                counts,
                total,
                {bucket: _exemplars(newest) for bucket, newest in exemplars},
            )
        case ["s", quantiles, count, total]:
            pairs = [(quantile, value) for quantile, value in quantiles]
            return SummaryValue(pairs, count, total)
    return NumberValue(plain)


def _exemplars(plain: Iterable[Any]) -> tuple[Exemplar, ...]:
    return tuple(Exemplar(*exemplar) for exemplar in plain)
