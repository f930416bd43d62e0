"""The lens means what a full decode means: counting, halving, checking, whatever the request."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.otlp import check
from sidelight.otlp.request import MalformedError, count, halves, parse
from sidelight.otlp.signals import SIGNALS, Signal
from support.fuzzing import inputs

_NAMES = {
    "traces": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
}
_SCHEMAS: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
# A field that no version of OTLP has yet, at any level.
_UNKNOWN = bytes([0xFA, 0x3F, 3]) + b"new"
_TEXT = st.text(max_size=8)
_Item = tuple[str, bool]
_Tree = list[tuple[str, str, list[tuple[str, str, list[_Item]]]]]

_trees = st.lists(
    st.tuples(
        _TEXT,
        _TEXT,
        st.lists(
            st.tuples(_TEXT, _TEXT, st.lists(st.tuples(_TEXT, st.booleans()), max_size=6)),
            max_size=4,
        ),
    ),
    max_size=4,
)


def _unknown(message: Message) -> None:
    message.MergeFromString(_UNKNOWN)


def _build(signal: Signal, tree: _Tree) -> Any:
    resources, scopes, items = _NAMES[signal]
    request: Any = _SCHEMAS[signal]()
    _unknown(request)
    for name, schema_url, its_scopes in tree:
        resource = getattr(request, resources).add(schema_url=schema_url)
        resource.resource.attributes.add(key=name).value.string_value = name
        _unknown(resource)
        for scope_name, scope_url, its_items in its_scopes:
            scope = getattr(resource, scopes).add(schema_url=scope_url)
            scope.scope.name = scope_name
            _unknown(scope)
            for text, has_unknown in its_items:
                item = getattr(scope, items).add()
                if signal == "logs":
                    item.body.string_value = text
                else:
                    item.name = text
                if has_unknown:
                    _unknown(item)
    return request


def _items(signal: Signal, request: Any) -> list[tuple[bytes, ...]]:
    """Every item with all that surrounds it, but its neighbours."""
    resources, scopes, items = _NAMES[signal]
    found = []
    for resource in getattr(request, resources):
        outer = type(resource)()
        outer.CopyFrom(resource)
        outer.ClearField(scopes)
        for scope in getattr(resource, scopes):
            inner = type(scope)()
            inner.CopyFrom(scope)
            inner.ClearField(items)
            for item in getattr(scope, items):
                parts = (outer, inner, item)
                found.append(tuple(part.SerializeToString(deterministic=True) for part in parts))
    return found


@given(st.sampled_from(SIGNALS), _trees)
@inputs(150, share=0.02)
def test_a_parsed_request_is_the_same_request(signal: Signal, tree: _Tree) -> None:
    """Parsed and serialised it decodes to what went in, unknown fields and schema_url included."""
    request = _build(signal, tree)
    body = request.SerializeToString()
    view = parse(signal, body)
    assert count(view) == len(_items(signal, request))
    assert _SCHEMAS[signal].FromString(view.SerializeToString()) == request


@given(st.sampled_from(SIGNALS), _trees)
@inputs(150, share=0.02)
def test_halves_are_the_whole(signal: Signal, tree: _Tree) -> None:
    """All items, in order, once, each under its own resource and scope; the counts are true."""
    request = _build(signal, tree)
    everything = _items(signal, request)
    parts = halves(request.SerializeToString())
    if len(everything) < 2:
        assert parts is None
        return
    assert parts is not None
    (left, left_count), (right, right_count) = parts
    decoded = [_items(signal, _SCHEMAS[signal].FromString(body)) for body in (left, right)]
    assert decoded[0] + decoded[1] == everything
    assert (left_count, right_count) == (len(decoded[0]), len(decoded[1]))
    assert abs(left_count - right_count) <= 1


@given(st.sampled_from(SIGNALS), _trees, _trees)
@inputs(100, share=0.02)
def test_concatenation_is_a_merge(signal: Signal, one: _Tree, other: _Tree) -> None:
    """Two bodies one behind the other are one request with the items of both."""
    requests = [_build(signal, each) for each in (one, other)]
    view = parse(signal, b"".join(each.SerializeToString() for each in requests))
    merged = _SCHEMAS[signal].FromString(view.SerializeToString())
    assert _items(signal, merged) == [item for each in requests for item in _items(signal, each)]


@given(st.sampled_from(SIGNALS), _trees, st.lists(st.tuples(st.integers(0), st.binary(max_size=2))))
@inputs(200, share=0.25)
def test_only_what_decodes_is_taken(
    signal: Signal, tree: _Tree, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever happens to the bytes, the lens takes them if and only if a full decode does,
    also when it walks them instead of decoding the whole.
    """
    data = bytearray(_build(signal, tree).SerializeToString())
    for at, new in changes:
        at %= len(data) + 1
        data[at : at + 1] = new
    body = bytes(data)
    try:
        expected: Any = _SCHEMAS[signal].FromString(body)
    except Exception:
        expected = None
    walked = check.WHOLE_BYTES
    for whole_bytes in (walked, 8):
        check.WHOLE_BYTES = whole_bytes
        try:
            found: Any = _SCHEMAS[signal].FromString(parse(signal, body).SerializeToString())
        except MalformedError:
            found = None
        finally:
            check.WHOLE_BYTES = walked
        assert (found is None) == (expected is None)


def _field(tag: int, body: bytes) -> bytes:
    """A length-delimited field."""
    length, digits = len(body), bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes([tag, *digits, length]) + body


def _nested(unit: bytes, levels: int, size: int) -> bytes:
    body = unit * (size // len(unit))
    for tag in (0x0A, 0x12, 0x12)[:levels][::-1]:
        body = _field(tag, body)
    return body


@pytest.mark.parametrize(
    ("unit", "levels"),
    [(b"\x0a\x00", 0), (b"\x12\x00", 1), (b"\x12\x00", 2), (b"\x4a\x00", 3), (b"\x08\x00", 0)],
    ids=["resources", "scopes", "spans", "attributes", "unknown"],
)
def test_megabytes_of_nothing_are_refused(unit: bytes, levels: int) -> None:
    """Two bytes would become a hundred and seventy, so too many parts are malformed."""
    with pytest.raises(MalformedError, match="too many parts"):
        parse("traces", _nested(unit, levels, 4 * 1024 * 1024))


def test_megabytes_of_small_resources_of_nothing_are_refused() -> None:
    """Each of them is short enough to be parsed as one, and all are sliced together."""
    resource = _field(0x0A, b"\x12\x00" * 250_000)
    assert len(resource) < check.WHOLE_BYTES
    with pytest.raises(MalformedError, match="too many parts"):
        parse("traces", resource * 8)


def test_large_requests_of_a_usual_kind_are_taken() -> None:
    """Many spans, and one span with megabytes of text."""
    many = _build("traces", [("r", "u", [("s", "v", [("a span", True)] * 80_000)])])
    body = many.SerializeToString()
    assert len(body) > check.WHOLE_BYTES
    assert count(parse("traces", body)) == 80_000
    one = _build("traces", [("r", "u", [("s", "v", [("x" * 5_000_000, True)])])])
    assert parse("traces", one.SerializeToString()).SerializeToString() == one.SerializeToString()


def test_groups_are_malformed() -> None:
    """Nobody sends them; left open ten thousand deep they are no crash either."""
    with pytest.raises(MalformedError):
        parse("traces", b"\x0b" * 10_000)
    with pytest.raises(MalformedError, match="groups"):
        parse("traces", b"\x0b" * 2_000_000)


@pytest.mark.parametrize("padding", [0, 2_000_000])
def test_values_nested_without_end_are_malformed(padding: int) -> None:
    """An array in an array, two hundred deep, in a small request and in a large one."""
    value = b"\x0a" + bytes([padding and 1]) + b"x" * (padding and 1)
    for _ in range(200):
        value = _field(0x2A, _field(0x0A, value))
    record = _field(0x2A, value) + _field(0x1A, b"x" * padding)
    with pytest.raises(MalformedError):
        parse("logs", _field(0x0A, _field(0x12, _field(0x12, record))))
