"""A request above 1 MiB is walked; it is taken if and only if protobuf takes it whole."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.otlp import varint
from sidelight.otlp.check import WHOLE_BYTES
from sidelight.otlp.request import MalformedError, checked
from sidelight.otlp.salvage import salvage

IDS = b"\x0a\x10" + b"\x01" * 16 + b"\x12\x08" + b"\x02" * 8
RESOURCE_SPANS = 0x0A
SCOPE_SPANS, SPANS, ATTRIBUTES = 0x12, 0x12, 0x4A
KEY_VALUES_VALUE, ARRAY_VALUE, ARRAY_VALUES, BYTES_VALUE = 0x12, 0x2A, 0x0A, 0x3A


def field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + varint.encode(len(content)) + content


def request(*spans: bytes) -> bytes:
    scope = b"".join(field(SPANS, span) for span in spans)
    return field(RESOURCE_SPANS, field(SCOPE_SPANS, scope))


def nested(arrays: int, size: int) -> bytes:
    """A span with an attribute of `size` bytes in so many arrays within each other."""
    heads = []
    length = len(field(BYTES_VALUE, bytes(size)))
    for _ in range(arrays):
        for tag in (ARRAY_VALUES, ARRAY_VALUE):
            heads.append(bytes([tag]) + varint.encode(length))
            length += len(heads[-1])
    value = b"".join(reversed(heads)) + field(BYTES_VALUE, bytes(size))
    return IDS + field(ATTRIBUTES, field(KEY_VALUES_VALUE, value))


def is_valid(body: bytes) -> bool:
    """What protobuf says of the whole."""
    try:
        ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return False
    return True


def is_taken(body: bytes) -> bool:
    try:
        checked("traces", body)
    except MalformedError:
        return False
    return True


@pytest.mark.parametrize("size", [10, WHOLE_BYTES + 1])
@pytest.mark.parametrize("arrays", [1, 46, 47, 48, 49, 60, 100])
def test_nesting_counts_from_the_request(arrays: int, size: int) -> None:
    """A backend's parser sees the whole, so no part may be counted on its own."""
    body = request(nested(arrays, size))
    assert is_taken(body) is is_valid(body)


@pytest.mark.parametrize("arrays", [1_000, 25_000])
def test_deep_nesting_ends_the_check(arrays: int) -> None:
    """In compiled modules nothing else would stop the recursion before the stack is full."""
    bad, good = nested(arrays, WHOLE_BYTES), IDS
    assert not is_taken(request(bad))
    kept = salvage("traces", request(bad, good))
    assert (kept.valid, kept.invalid) == (1, 1)
    assert kept.body == request(good)


@pytest.mark.parametrize("size", [10, WHOLE_BYTES + 1])
@pytest.mark.parametrize(
    "unusual",
    [
        bytes.fromhex("ca80808000 00"),  # a tag of five bytes
        bytes.fromhex("ca8080808000 00"),
        bytes.fromhex("4a 8080808000"),  # a length of five bytes
        bytes.fromhex("4a 808080808000"),
        bytes.fromhex("ca80808010 00"),  # a tag of more than 32 bits
        bytes.fromhex("02 00"),  # field 0
    ],
)
def test_tags_and_lengths_are_short(unusual: bytes, size: int) -> None:
    """What parsers refuse is refused in a large request, too."""
    span = IDS + field(ATTRIBUTES, field(KEY_VALUES_VALUE, field(BYTES_VALUE, bytes(size))))
    body = request(span + unusual)
    assert is_taken(body) is is_valid(body)
