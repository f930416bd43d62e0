"""What a name is: the records behind `ATTRIBUTES` and `METRICS`, and how they are filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Instrument = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "max", "min"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute name: what it means, its unit, and whether it can hold user content."""

    name: str
    meaning: str
    unit: str = ""
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its OpenTelemetry name, instrument, unit (UCUM) and bucket bounds.

    `across` says how the gauges of several workers become one.
    """

    name: str
    instrument: Instrument
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()
    across: Across = "sum"


ATTRIBUTES: Final[dict[str, Attribute]] = {}
METRICS: Final[dict[str, Metric]] = {}


def attribute(name: str, meaning: str, *, unit: str = "", sensitive: bool = False) -> str:
    ATTRIBUTES[name] = Attribute(name, meaning, unit, sensitive)
    return name


def metric(
    name: str,
    instrument: Instrument,
    unit: str,
    meaning: str,
    buckets: tuple[float, ...] = (),
    across: Across = "sum",
) -> str:
    METRICS[name] = Metric(name, instrument, unit, meaning, buckets, across)
    return name
