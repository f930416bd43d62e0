"""The valid items of an export request that is not valid as a whole.

One text that is not UTF-8 in one span must not cost the batch of 512 that it came with.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.otlp import varint
from sidelight.otlp.check import LENGTH, Checker
from sidelight.otlp.request import FULL
from sidelight.otlp.signals import Signal

_ITEM: Final[dict[Signal, type[Message]]] = {
    "traces": Span,
    "metrics": Metric,
    "logs": LogRecord,
}
# Field numbers of opentelemetry-proto 1.x, which the three signals share.
_RESOURCES, _ORIGIN, _PARTS = 1, 1, 2
_PATHS: Final = {1: (_RESOURCES,), 2: (_RESOURCES, _PARTS)}
"""The fields that lead to a resource with its scopes, and to a scope with its items."""


class Salvage(NamedTuple):
    """A valid request with the items that are valid, how many those are, and how many are not."""

    body: bytes
    valid: int
    invalid: int


class _Part(NamedTuple):
    """A part of a request: its valid bytes, and the items in it."""

    body: bytes
    valid: int
    invalid: int


def salvage(signal: Signal, body: bytes | memoryview) -> Salvage:
    """Leave out what is not valid: an item alone, or all items of a resource or scope.

    Raises `DecodeError` if the request cannot be taken apart, or has too many parts.
    """
    checker = Checker(FULL[signal])
    kept = bytearray()
    valid = invalid = 0
    for number, wire_type, field, value in checker.fields(memoryview(body)):
        if (number, wire_type) != (_RESOURCES, LENGTH):
            kept += field
            continue
        resource = _part(checker, signal, value, Resource, depth=1)
        valid, invalid = valid + resource.valid, invalid + resource.invalid
        if resource.valid:
            kept += _length_delimited(_RESOURCES, resource.body)
    return Salvage(bytes(kept), valid, invalid)


def _part(
    checker: Checker, signal: Signal, data: memoryview, origin: type[Message], depth: int
) -> _Part:
    """A resource with its scopes (`depth` 1), or a scope with its items (`depth` 2)."""
    kept = bytearray()
    valid = invalid = 0
    is_valid = True
    for number, wire_type, field, value in checker.fields(data):
        if wire_type == LENGTH and number == _ORIGIN:
            is_valid = is_valid and _is_valid(checker, origin, value, (*_PATHS[depth], _ORIGIN))
            kept += field
        elif wire_type == LENGTH and number == _PARTS and depth == 1:
            scope = _part(checker, signal, value, InstrumentationScope, depth=2)
            valid, invalid = valid + scope.valid, invalid + scope.invalid
            if scope.valid:
                kept += _length_delimited(_PARTS, scope.body)
        elif wire_type == LENGTH and number == _PARTS:
            if _is_valid(checker, _ITEM[signal], value, (*_PATHS[depth], _PARTS)):
                valid += 1
                kept += field
            else:
                invalid += 1
        elif _is_text(wire_type, value):
            kept += field
    return _Part(bytes(kept), valid, invalid) if is_valid else _Part(b"", 0, valid + invalid)


def _is_valid(
    checker: Checker, schema: type[Message], value: memoryview, path: tuple[int, ...]
) -> bool:
    try:
        checker.check(schema, value, path)
    except DecodeError:
        return False
    return True


def _is_text(wire_type: int, value: memoryview) -> bool:
    """Whether another field may stay: the schema URL, which must be UTF-8, or a number."""
    if wire_type != LENGTH:
        return True
    try:
        str(value, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _length_delimited(number: int, value: bytes) -> bytes:
    return varint.encode(number << 3 | LENGTH) + varint.encode(len(value)) + value
