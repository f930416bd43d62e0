"""OpenTelemetry names in Prometheus: the compatibility rules for metrics, units and resources.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from sidelight import conventions
from sidelight.otlp import span
from sidelight.otlp.remember import remembered

SERVICE_NAMESPACE = "service.namespace"

_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER_UNITS = {
    "s": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
_ANNOTATION = re.compile(r"\{[^}]*\}")
_NOT_METRIC = re.compile(r"[^a-zA-Z0-9:]+|_{2,}")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9]+|_{2,}")
_IDENTITY = (SERVICE_NAMESPACE, conventions.SERVICE_NAME, conventions.SERVICE_INSTANCE_ID)


def label_name(attribute: str) -> str:
    """The label of an OpenTelemetry attribute: every run of other characters is one `_`."""
    name = _NOT_LABEL.sub("_", attribute)
    return f"key_{name}" if name[:1].isdigit() else name or "_"


def metric_name(name: str) -> str:
    """A name that Prometheus accepts: every run of other characters is one `_`."""
    spelled = _NOT_METRIC.sub("_", name)
    return f"_{spelled}" if spelled[:1].isdigit() else spelled or "_"


@remembered(maxsize=1024)
def family_name(name: str, unit: str, kind: Literal["counter", "gauge", "other"]) -> str:
    """The family's name: unit spelled out as a suffix; a counter's `_total` not included."""
    words = [word for word in metric_name(name).split("_") if word]
    if kind == "counter":
        words = [word for word in words if word != "total"]
    main, _, per = _ANNOTATION.sub("", unit).strip().partition("/")
    suffixes = [_UNITS.get(main, main)]
    if per:
        suffixes += ["per", _PER_UNITS.get(per, per)]
    elif main == "1" and kind == "gauge":
        suffixes = ["ratio"]
    for suffix in metric_name("_".join(suffixes)).split("_"):
        if suffix and suffix not in words:
            words.append(suffix)
    return metric_name("_".join(words))


def attribute_labels(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Attributes as labels, sorted by key; values whose keys fall together are joined by `;`."""
    labels: dict[str, str] = {}
    for pair in sorted(pairs, key=lambda pair: pair.key):
        label = label_name(pair.key)
        text = attribute_text(pair.value)
        labels[label] = f"{labels[label]};{text}" if label in labels else text
    return labels


def attribute_text(any_value: AnyValue) -> str:
    """An attribute's value as a label's."""
    value = span.value(any_value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return "" if value is None else str(value)


def identity(resource: Mapping[str, str]) -> dict[str, str]:
    """`job` and `instance` of a resource, as far as it names them."""
    labels: dict[str, str] = {}
    name = resource.get(conventions.SERVICE_NAME)
    if name:
        namespace = resource.get(SERVICE_NAMESPACE)
        labels["job"] = f"{namespace}/{name}" if namespace else name
    instance = resource.get(conventions.SERVICE_INSTANCE_ID)
    if instance:
        labels["instance"] = instance
    return labels


def is_identity(attribute: str) -> bool:
    """Whether a resource attribute is told by `job` and `instance` already."""
    return attribute in _IDENTITY
