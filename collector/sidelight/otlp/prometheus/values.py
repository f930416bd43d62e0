"""What a Prometheus series holds at one moment, and the samples that stand for it.

Counters, gauges, histograms and summaries are kept as data while they are measured, received and
merged. They become samples only where they are written: as text on /metrics, as time series for
remote write.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

_MAX_PLAIN_DIGITS = 6


class Exemplar(NamedTuple):
    """A measurement that leads to a trace; ids in hexadecimal, `span_id` may be empty."""

    trace_id: str
    span_id: str
    value: float
    seconds: float
    """When it was measured, in Unix seconds."""


@dataclass(slots=True)
class NumberValue:
    """A counter, a gauge or an info metric."""

    value: int | float
    exemplars: tuple[Exemplar, ...] = ()
    """Oldest first."""


@dataclass(slots=True)
class HistogramValue:
    """A histogram of classic buckets."""

    bounds: tuple[float, ...]
    """Upper bounds, inclusive and ascending, without infinity."""
    counts: list[int]
    """Observations in each bucket alone, and at last those above all bounds."""
    sum: float | None = None
    """None if the sender does not tell it."""
    exemplars: dict[int, tuple[Exemplar, ...]] = field(default_factory=dict)
    """By the index of their bucket, oldest first."""


@dataclass(slots=True)
class SummaryValue:
    """Quantiles that the sender computed."""

    quantiles: list[tuple[float, float]]
    """Quantile and value."""
    count: int
    sum: float


Value = NumberValue | HistogramValue | SummaryValue


Sample = tuple[str, str, str, int | float, tuple[Exemplar, ...]]
"""One sample of a series: what follows the family's name; the label of its own (`le`, `quantile`
or nothing) and its value; the sample's value; exemplars, oldest first.

A plain tuple: a page of 2,000 series has 20,000 samples, and a class would cost a third more.
"""


_NUMBER_SUFFIXES: Final = {"counter": "_total", "info": "_info"}


def samples(kind: str, value: Value) -> Iterator[Sample]:
    """The samples of a value, in the order in which an exposition wants them.

    `kind` is the type of the family, which names the sample of a number: a counter's ends in
    `_total`. Only counters and the buckets of histograms may carry exemplars.
    """
    if isinstance(value, NumberValue):
        exemplars = value.exemplars if kind == "counter" else ()
        yield _NUMBER_SUFFIXES.get(kind, ""), "", "", value.value, exemplars
    elif isinstance(value, HistogramValue):
        cumulative, exemplars_of = 0, value.exemplars.get
        for index, (le, count) in enumerate(
            zip(spelled_bounds(value.bounds), value.counts, strict=True)
        ):
            cumulative += count
            yield "_bucket", "le", le, cumulative, exemplars_of(index, ())
        yield "_count", "", "", cumulative, ()
        if value.sum is not None:
            yield "_sum", "", "", value.sum, ()
    else:
        for quantile, at_quantile in value.quantiles:
            yield "", "quantile", spelled(quantile), at_quantile, ()
        yield "_count", "", "", value.count, ()
        yield "_sum", "", "", value.sum, ()


# Histograms of one metric share their bounds, and spelling them costs more than all the rest.
@lru_cache(maxsize=64)
def spelled_bounds(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """The `le` of each bucket, that of infinity included."""
    return tuple(spelled(bound) for bound in (*bounds, math.inf))


def spelled(value: float) -> str:
    """A number as Prometheus itself writes it, which is how it compares `le` and `quantile`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    # Go begins with exponents at a million, where Python writes 1000000.0.
    dot = text.find(".")
    if value > 0 and dot > _MAX_PLAIN_DIGITS:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{dot - 1:02d}"
    return text
