"""What a name is: the records behind `ATTRIBUTES` and `METRICS`, and how they are filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Instrument = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "max", "min"]
Emitter = Literal["vllm", "clients", "collector", "injector", "apps"]

VLLM: Final = "vllm"
"""Sidelight's instrumentation inside a vLLM server."""
CLIENTS: Final = "clients"
"""Sidelight's instrumentation of vector-database clients."""
COLLECTOR: Final = "collector"
"""The collector: on spans of other instrumentations, as a computed value, or on /metrics."""
INJECTOR: Final = "injector"
"""The injector, on its own /metrics."""
APPS: Final = "apps"
"""Apps and other instrumentations. Sidelight and the backends read it."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of spans or resources, or one label of metrics.

    `emitters` are the parts that write it. `unit` is in UCUM. `sensitive` means that it can
    hold user content. `group` is the heading on the reference page.
    """

    name: str
    meaning: str
    group: str
    emitters: tuple[Emitter, ...]
    unit: str = ""
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its OpenTelemetry name, instrument, unit (UCUM) and bucket bounds.

    `emitters` are the parts that write it. `across` says how the gauges of several workers
    become one. `group` is the heading on the reference page.
    """

    name: str
    instrument: Instrument
    unit: str
    meaning: str
    group: str
    emitters: tuple[Emitter, ...]
    buckets: tuple[float, ...] = ()
    across: Across = "sum"


ATTRIBUTES: Final[dict[str, Attribute]] = {}
METRICS: Final[dict[str, Metric]] = {}


class Group:
    """Names under one heading of the reference page, and who emits most of them.

    Its methods register a name and return it, so that a constant is a plain `str`.
    """

    def __init__(self, title: str, *emitters: Emitter) -> None:
        self._title = title
        self._emitters = emitters

    def attribute(
        self,
        name: str,
        meaning: str,
        *emitters: Emitter,
        unit: str = "",
        sensitive: bool = False,
    ) -> str:
        """Register an attribute. `emitters` default to those of the group."""
        ATTRIBUTES[name] = Attribute(
            name, meaning, self._title, emitters or self._emitters, unit, sensitive
        )
        return name

    def metric(
        self,
        name: str,
        instrument: Instrument,
        unit: str,
        meaning: str,
        *emitters: Emitter,
        buckets: tuple[float, ...] = (),
        across: Across = "sum",
    ) -> str:
        """Register a metric. `emitters` default to those of the group."""
        METRICS[name] = Metric(
            name,
            instrument,
            unit,
            meaning,
            self._title,
            emitters or self._emitters,
            buckets,
            across,
        )
        return name
