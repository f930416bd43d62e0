"""Spans that are read by C come out of processing as they do without it."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.common.processed import Processed
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.collector.processors.plan.plans import Plans
from sidelight.otlp import varint
from sidelight.otlp.request import checked
from support import wire
from support.processing import any_value

pytestmark = wire.NEEDS_COMPILER


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module, compiled quickly."""
    path = tmp_path_factory.mktemp("native") / "_wire.so"
    wire.build(path, "-O0")
    return wire.load(path)


@pytest.mark.parametrize("code", [2, 2**32 + 2])
def test_a_plan_is_made_of_what_its_key_says(
    native: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """An odd span leaves no plan that is wrong for the usual ones."""
    monkeypatch.setattr("sidelight.collector.processors.plan.values.walk", native.walk)
    monkeypatch.setattr("sidelight.collector.processors.plan.tree.attribute", native.attribute)
    status = b"\x18" + varint.encode(code)
    usual = Span(attributes=[KeyValue(key="model", value=any_value("m"))]).SerializeToString()
    odd = usual + b"\x7a" + varint.encode(len(status)) + status

    def rules(one: EditableSpan) -> None:
        one.set("failed", one.is_error)

    plans = Plans()
    for item, is_error in ((odd, True), (usual, False), (odd, True)):
        made = Span.FromString(plans.apply(rules, None, item).serialised())
        assert made.attributes[-1].value.bool_value == is_error


_IDS = b"\x0a\x10" + b"\x01" * 16 + b"\x12\x08" + b"\x02" * 8
_NAMED = _IDS + b"\x2a\x01n"


@pytest.mark.parametrize(
    "more", [b"\x22\x03abc", b"\x12\x01z", b"\x0a\x00"], ids=["parent", "span", "trace"]
)
def test_bad_ids_behind_the_name(native: Any, monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    """Backends read them. The other spans of the request are kept."""
    done, items = _processed(native, monkeypatch, [_NAMED, _NAMED + more])
    assert items == [_NAMED]
    assert sum(done.refused.values()) == 1


@pytest.mark.parametrize(
    "text", [b"abc\x12\x09\x21\x00aaaaaaaa", b"\x12\x02\x10\x00", b"a\x12\x02\x0a\x00J"]
)
def test_u_0000_in_what_looks_like_a_number(
    native: Any, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    """It is in a text, whatever is around it."""
    item = _NAMED + _field(0x4A, _field(0x0A, b"key") + _field(0x12, _field(0x0A, text)))
    done, items = _processed(native, monkeypatch, [item, _NAMED])
    assert done.changed
    value = Span.FromString(items[0]).attributes[0].value.string_value
    assert value == text.decode().replace("\0", "\ufffd")
    assert items[1] == _NAMED


def _processed(
    native: Any, monkeypatch: pytest.MonkeyPatch, items: list[bytes]
) -> tuple[Processed, list[bytes]]:
    """What a pipeline that only repairs makes of spans with C, and the spans that are left."""
    monkeypatch.setattr("sidelight.otlp.request.survey", native.survey)
    monkeypatch.setattr("sidelight.otlp.wire.HAS_C", True)
    spans_of_scope = b"".join(_field(0x12, item) for item in items)
    body = _field(0x0A, _field(0x12, spans_of_scope))
    came = checked("traces", body)
    assert not came.is_clean
    done = Pipeline(repairs=True).traces(came.request, body, is_clean=came.is_clean)
    return done, list(came.request.resources[0].scopes[0].items)


def _field(tag: int, body: bytes) -> bytes:
    return bytes([tag]) + varint.encode(len(body)) + body
