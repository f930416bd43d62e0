"""The snapshots of several workers as one: sums are exact, and never go back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sidelight import conventions
from sidelight.collector.metrics.family import Family, Series, labels_text
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.snapshot import FamilySnapshot, SeriesSnapshot, Snapshot
from sidelight.otlp.prometheus.values import Exemplar, HistogramValue, NumberValue, Value

Across = Callable[[Iterable[int | float]], int | float]

_ACROSS: Final[Mapping[str, Across]] = {"sum": sum, "max": max, "min": min}
# What a process has counted stays true when it is gone; its gauges do not.
_SUMMED: Final = ("counter", "histogram")
# Longer than a series is shown after its last update.
_FORGOTTEN_SECONDS: Final = 600.0
_RULES: Final = {
    conventions.prometheus_name(metric.name): metric.across
    for metric in conventions.METRICS.values()
}


def of_one(families: Iterable[Family], worker: str) -> list[Family]:
    """What concerns one process alone (its memory, its files), with a label for the process."""
    label = labels_text({"worker": worker})
    return [
        Family(
            family.name,
            family.type,
            family.help,
            [Series(label, series.value) for series in family.series],
        )
        for family in families
        if family.name.startswith("process_")
    ]


def merged(snapshots: Mapping[str, Snapshot], gone: Snapshot, now: float) -> Families:
    """The families of the workers that run, by the worker's name, and of those that are gone.

    `now` is on the machine's monotonic clock.
    """
    own: list[Family] = []
    for worker, snapshot in snapshots.items():
        own += of_one(snapshot.own, worker)
    everything = [*snapshots.values(), gone]
    own += _own(family for snapshot in everything for family in snapshot.own)
    received = [
        Family(family.name, family.type, family.help, [kept.series for kept in family.series])
        for family in _received(everything, now)
    ]
    scraped = [family for snapshot in everything for family in snapshot.scraped]
    return Families(own, scraped, received)


def what_stays(gone: Snapshot, last: Snapshot, now: float) -> Snapshot:
    """What is still to be counted after a worker is gone: its sums, as they were last known."""
    own = [family for family in (*gone.own, *last.own) if family.type in _SUMMED]
    received = [
        FamilySnapshot(family.name, family.type, family.help, deltas)
        for family in _received([gone, last], now)
        if (deltas := [series for series in family.series if series.is_delta])
    ]
    return Snapshot(own=_own(own), received=received)


def _own(families: Iterable[Family]) -> list[Family]:
    alike: dict[str, list[Family]] = {}
    for family in families:
        # Memory and files of several processes have no sum that anybody asks for.
        if not family.name.startswith("process_"):
            alike.setdefault(family.name, []).append(family)
    made = []
    for name, same in alike.items():
        rule = _RULES.get(name, "sum") if same[0].type == "gauge" else "sum"
        values: dict[str, list[Value]] = {}
        for family in same:
            for series in family.series:
                values.setdefault(series.labels, []).append(series.value)
        series_made = [
            Series(labels, _combined(several, _ACROSS[rule])) for labels, several in values.items()
        ]
        made.append(Family(name, same[0].type, same[0].help, series_made))
    return made


def _received(snapshots: Iterable[Snapshot], now: float) -> list[FamilySnapshot]:
    """Each series of a metric once.

    Where a name has two types, or a series two metrics, both are returned: the page shows the
    first and counts the other.
    """
    families: dict[tuple[str, str, int], FamilySnapshot] = {}
    series: dict[tuple[str, str, str], list[SeriesSnapshot]] = {}
    for snapshot in snapshots:
        for family in snapshot.received:
            for received in family.series:
                if now - received.seen < _FORGOTTEN_SECONDS:
                    key = family.name, family.type, received.series.labels
                    _add_to(series.setdefault(key, []), received)
            for number in range(2):
                families.setdefault(
                    (family.name, family.type, number),
                    FamilySnapshot(family.name, family.type, family.help),
                )
    for (name, type_, _), metrics in series.items():
        for number, metric in enumerate(metrics[:2]):
            families[name, type_, number].series.append(metric)
    return [family for family in families.values() if family.series]


def _add_to(metrics: list[SeriesSnapshot], received: SeriesSnapshot) -> None:
    """Put a series to those with its name and labels, of which each is of another metric."""
    for index, known in enumerate(metrics):
        if known.metric == received.metric:
            metrics[index] = _one_of(known, received)
            return
    metrics.append(received)


def _one_of(before: SeriesSnapshot, other: SeriesSnapshot) -> SeriesSnapshot:
    newest = max(before, other, key=lambda received: received.seen)
    # A cumulative series is whole in each worker that its sender has reached.
    if not (before.is_delta and other.is_delta):
        return newest
    value = _combined([before.series.value, other.series.value], sum)
    series = Series(newest.series.labels, value)
    return SeriesSnapshot(series, newest.metric, newest.seen, is_delta=True)


def _combined(values: Sequence[Value], across: Across) -> Value:
    """Values of one series as one; what cannot be added up is taken from the last."""
    first, *others = values
    for other in others:
        first = _pair(first, other, across)
    return first


def _pair(one: Value, other: Value, across: Across) -> Value:
    match one, other:
        case NumberValue(), NumberValue():
            number = across((one.value, other.value))
            return NumberValue(number, _newest(one.exemplars, other.exemplars))
        case HistogramValue(), HistogramValue() if one.bounds == other.bounds:
            counts = [left + right for left, right in zip(one.counts, other.counts, strict=True)]
            total = None if one.sum is None or other.sum is None else one.sum + other.sum
            exemplars = {
                bucket: _newest(one.exemplars.get(bucket, ()), other.exemplars.get(bucket, ()))
                for bucket in one.exemplars.keys() | other.exemplars.keys()
            }
            return HistogramValue(one.bounds, counts, total, exemplars)
    # Quantiles cannot be added, nor buckets of different bounds.
    return other


def _newest(one: tuple[Exemplar, ...], other: tuple[Exemplar, ...]) -> tuple[Exemplar, ...]:
    """The exemplar that was measured last."""
    return tuple(sorted((*one, *other), key=lambda exemplar: exemplar.seconds)[-1:])
