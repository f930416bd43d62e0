"""Data points as OTLP metrics in protobuf, cumulative since the process started.

The field numbers are those of `metrics.proto` of opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export.protobuf import attributes, message, text, varint
from sidelight.instrumentation.vllm.metrics import DataPoint, Distribution

_CUMULATIVE: Final = b"\x10" + varint(2)
_MONOTONIC: Final = b"\x18\x01"


def metrics_request(
    resource: bytes, scope: str, data_points: Iterable[DataPoint], start_ns: int, now_ns: int
) -> bytes:
    """An `ExportMetricsServiceRequest` with one resource and one scope.

    The values are sums from `start_ns` to `now_ns`, in wall-clock nanoseconds.
    """
    times = pack("<BQBQ", 0x11, start_ns, 0x19, now_ns)
    points: dict[str, list[bytes]] = {}
    for data_point in data_points:
        value = data_point.value
        if isinstance(value, Distribution):
            point = _histogram_point(times, data_point, value)
        else:
            point = _number_point(times, data_point, value)
        points.setdefault(data_point.metric, []).append(point)
    scope_metrics = [message(b"\x0a", text(b"\x0a", scope))]
    scope_metrics += [message(b"\x12", _metric(name, same)) for name, same in points.items()]
    resource_metrics = message(b"\x0a", resource) + message(b"\x12", b"".join(scope_metrics))
    return message(b"\x0a", resource_metrics)


def _metric(name: str, points: Iterable[bytes]) -> bytes:
    definition = names.METRICS[name]
    data = b"".join(message(b"\x0a", point) for point in points)
    if definition.instrument == "histogram":
        data = message(b"\x4a", data + _CUMULATIVE)
    elif definition.instrument == "counter":
        data = message(b"\x3a", data + _CUMULATIVE + _MONOTONIC)
    else:
        data = message(b"\x2a", data)
    described = text(b"\x0a", name) + text(b"\x12", definition.meaning)
    return described + text(b"\x1a", definition.unit) + data


def _number_point(times: bytes, data_point: DataPoint, value: float) -> bytes:
    number = pack("<Bq", 0x31, value) if isinstance(value, int) else pack("<Bd", 0x21, value)
    return b"".join((times, number, *attributes(b"\x3a", data_point.attributes)))


def _histogram_point(times: bytes, data_point: DataPoint, value: Distribution) -> bytes:
    # Copied once, because the processing thread goes on adding.
    counts = tuple(value.counts)
    count = sum(counts)
    parts = [
        times,
        pack("<BQBd", 0x21, count, 0x29, value.total),
        message(b"\x32", pack(f"<{len(counts)}Q", *counts)),
        message(b"\x3a", pack(f"<{len(value.bounds)}d", *value.bounds)),
        *attributes(b"\x4a", data_point.attributes),
    ]
    if count:
        parts.append(pack("<BdBd", 0x59, value.minimum, 0x61, value.maximum))
    return b"".join(parts)
