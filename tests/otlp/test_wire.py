"""What C says of bytes, protobuf says too; and no bytes make C read what it may not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.repair.suspects import has_bad_escape
from sidelight.collector.processors.repair.texts import repaired
from sidelight.otlp import varint
from sidelight.otlp.check import MAX_PARTS, WHOLE_BYTES
from sidelight.otlp.schema import schema
from sidelight.otlp.wire import CLEAN, NOT_SURE, VALID
from support import wire
from support.fuzzing import inputs
from support.paths import ROOT
from support.processing import any_value, request, span, spans

pytestmark = wire.NEEDS_COMPILER


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module, compiled as an installation has it."""
    path = tmp_path_factory.mktemp("native") / "_wire.so"
    wire.build(path, "-O2")
    return wire.load(path)


def test_each_module_has_a_type_of_its_own(native: Any, tmp_path: Path) -> None:
    """Interpreters of one process share nothing, and a type lives as long as its spans."""
    path = tmp_path / "_wire.so"
    wire.build(path, "-O0")
    first, second = wire.load(path), wire.load(path)
    assert first.WalkedSpan is not second.WalkedSpan
    item = span({"key": "text"}).SerializeToString()
    walked = [module.walk(item) for module in (first, second, native)]
    expected = [module.WalkedSpan for module in (first, second, native)]
    assert [type(one) for one in walked] == expected
    del first, second, expected
    gc.collect()
    assert [one.value(0) for one in walked] == ["text"] * 3


def test_recorded_traffic_and_what_it_may_turn_into(native: Any) -> None:
    """Whole, cut off after each byte, and with bytes changed."""
    wire.fuzz(native, 150)


@pytest.mark.slow
def test_no_read_is_out_of_bounds(tmp_path: Path) -> None:
    """The same with AddressSanitizer and UBSan, which end the process at the first such read."""
    path = tmp_path / "_wire.so"
    sanitizers = "-fsanitize=address,undefined"
    found = subprocess.run(
        [*wire.COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True
    ).stdout.strip()
    if not Path(found).is_file():
        pytest.skip("the compiler has no AddressSanitizer; install libasan to run this test")
    wire.build(path, "-O1", "-g", sanitizers, "-fno-sanitize-recover=all")
    env = {
        **os.environ,
        "LD_PRELOAD": found,
        # Python keeps objects until the end of the process, and has memory of its own.
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(ROOT / "tests"),
    }
    count = int(os.environ.get("SIDELIGHT_FUZZ_INPUTS", "2000")) // 10
    command = [sys.executable, "-m", "support.wire", str(path), str(count)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr[-4000:]


_TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["\x00", "\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "x" * 300, "é" * 20]
    ),
)


@given(spans(_TEXTS, _TEXTS, _TEXTS), st.binary(max_size=3))
@inputs(300, 1.0)
def test_any_span(native: Any, one: Span, more: bytes) -> None:
    """With fields of later versions, values in each other, and what repairs change."""
    item = one.SerializeToString()
    wire.compare_span(native, item)
    wire.compare_span(native, item + more)
    body = request([one]).SerializeToString()
    assert wire.compare_request(native, body) != NOT_SURE
    wire.compare_request(native, body + more)


@pytest.mark.parametrize("code", [2, 2**31 - 1, 2**31, 2**32 + 2, 2**63 + 2, 2**64 - 1])
@pytest.mark.parametrize("tag", [b"\x7a", b"\x30"], ids=["status", "kind"])
def test_numbers_too_large_for_an_enum(native: Any, tag: bytes, code: int) -> None:
    """Protobuf takes 32 bits of them: 2**32 + 2 is an error."""
    field = varint.encode(code)
    if tag == b"\x7a":
        field = varint.encode(len(field) + 1) + b"\x18" + field
    item = span().SerializeToString()
    head = Span.FromString(item)
    for name in ("kind", "status", "start_time_unix_nano", "end_time_unix_nano"):
        head.ClearField(name)
    item = head.SerializeToString() + tag + field
    assert wire.compare_span(native, item) == (code < 2**31)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a text", CLEAN), ("\\ud83d\\ude00", CLEAN), ("\\\\", CLEAN), ("é€😀" * 9, CLEAN),
        ("a\x00", VALID), ("x" * 40 + "\x00", VALID), ("\\u0000", VALID), ("\\ud83d", VALID),
        ("\\ude00", VALID), ("\\ud83d\\ud83d", VALID), ("x" * 33 + "\\uD800 ", VALID),
        ("\\\\ud83d\\udc00", VALID), ("\\\\\\ud83d\\udc00", CLEAN), ("\\ud83d\\udeZZ", VALID),
        ("\\ud8é\\udc00", VALID), ("\\\\uD8é\\udc00", VALID), ("\\ud83d\\", VALID),
        ("\\\x00", VALID), ("\\é", CLEAN), ("\\ud83d\\ude00\\ude00", VALID), ("\\\\u0000", CLEAN),
        ("\\\\\\u0000", VALID),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", range(18))
def test_texts(native: Any, text: str, answer: int, place: int) -> None:
    """Wherever in a block of sixteen bytes something is."""
    body = request([span({"key": "." * place + text})]).SerializeToString()
    assert wire.compare_request(native, body) == answer


_PARTS_OF_ESCAPES = (
    "\\", "\\u", "\\ud83d", "\\udc00", "\\uD8", "\\uDFff", "u0000", "\\u0000", "\\udeZZ", "\\ud83Z",
    "é", "x", "00", "\0", '"', "\\n",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PARTS_OF_ESCAPES), max_size=8), st.integers(0, 16))
@inputs(500, 1.0)
def test_escapes_as_repairs_read_them(native: Any, parts: list[str], place: int) -> None:
    """No text is clean that repairs change, and none that they change is passed over in Python."""
    text = '"' + "." * place + "".join(parts)
    item = span({"key": text}).SerializeToString()
    answer = wire.compare_request(native, request([Span.FromString(item)]).SerializeToString())
    if repaired(text) != text:
        assert answer == VALID
        assert has_bad_escape(item) or "\0" in text


@pytest.mark.parametrize(
    "text",
    [
        b"\x80", b"\xc0\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xff",
        b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3", b"\xe2\x82", b"\xe2\x82x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", range(18))
def test_what_is_not_utf8(native: Any, text: bytes, place: int) -> None:
    """It is left to protobuf, which refuses it."""
    fine = "." * place + "~" * len(text) + "."
    body = request([span({"key": fine})]).SerializeToString()
    assert wire.survey(native, body) == CLEAN
    broken = body.replace(b"~" * len(text), text)
    assert wire.survey(native, broken) == NOT_SURE


def test_spans_that_need_a_look(native: Any) -> None:
    """Bad ids, attributes without a value, numbers that JSON does not have."""
    for change in (
        lambda one: one.ClearField("trace_id"),
        lambda one: setattr(one, "span_id", bytes(8)),
        lambda one: setattr(one, "parent_span_id", b"short"),
        lambda one: one.attributes.add(key="no value"),
        lambda one: one.attributes.add(key="empty").value.SetInParent(),
        lambda one: one.events.add().attributes.add(key="no value"),
        lambda one: one.attributes.add(key="x", value=any_value(float("nan"))),
        lambda one: one.attributes.add(key="x", value=any_value([1.0, float("-inf")])),
        lambda one: one.attributes.add(key="x", value=any_value({"in": {"here": float("inf")}})),
    ):
        one = span({"key": "text"})
        change(one)
        assert wire.compare_request(native, request([one]).SerializeToString()) == VALID


def test_other_signals(native: Any) -> None:
    """They have the same schema as protobuf: packed numbers, and one more level."""
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.histogram.data_points.add(bucket_counts=[1, 2], explicit_bounds=[0.5], min=0.1)
    metric = metrics.resource_metrics[0].scope_metrics[0].metrics.add(name="n")
    metric.exponential_histogram.data_points.add(scale=-1).positive.bucket_counts.extend([300, 1])
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(body=any_value(["text", {"a": 1}]))
    for message in (metrics, logs):
        body = message.SerializeToString()
        table = schema(type(message))
        assert native.survey(table, body, WHOLE_BYTES, MAX_PARTS) >= VALID
        for end in range(len(body)):
            if native.survey(table, body[:end], WHOLE_BYTES, MAX_PARTS) != NOT_SURE:
                type(message).FromString(body[:end])


def test_fields_that_otlp_does_not_have_yet(native: Any) -> None:
    """A number above those of a row, and a group: only messages that hold one are left."""
    file = FileDescriptorProto(name="later.proto", package="later")
    message = file.message_type.add(name="Later")
    message.field.add(name="text", number=1, type=FieldDescriptorProto.TYPE_STRING)
    message.field.add(name="high", number=40, type=FieldDescriptorProto.TYPE_STRING)
    message.nested_type.add(name="Group").field.add(
        name="number", number=1, type=FieldDescriptorProto.TYPE_INT32
    )
    message.field.add(
        name="group", number=2, type=FieldDescriptorProto.TYPE_GROUP, type_name=".later.Later.Group"
    )
    pool = DescriptorPool()
    pool.Add(file)
    later = GetMessageClass(pool.FindMessageTypeByName("later.Later"))
    table = schema(later)
    for body, answer in (
        (b"\x0a\x01x", CLEAN), (b"\x0a\x01\x00", VALID), (b"\xc2\x02\x01x", NOT_SURE),
        (b"\xc2\x02\x01\xff", NOT_SURE), (b"\x13\x08\x01\x14", NOT_SURE), (b"\x12\x00", NOT_SURE),
        (b"\xca\x02\x01x", NOT_SURE), (b"\xf0\x01\x01", CLEAN),
    ):  # fmt: skip
        assert native.survey(table, body, WHOLE_BYTES, MAX_PARTS) == answer


def test_depth_is_left_to_protobuf(native: Any) -> None:
    """Which takes a list in 40 others, and refuses what has no end."""
    deep: Any = "text"
    for _ in range(40):
        deep = [deep]
    one = span({"key": deep})
    assert wire.compare_request(native, request([one]).SerializeToString()) == NOT_SURE
    assert wire.compare_span(native, one.SerializeToString())
    value = any_value("text").SerializeToString()
    for _ in range(80):
        value = _field(0x2A, _field(0x0A, value))
    item = _field(0x4A, _field(0x0A, b"key") + _field(0x12, value))
    assert native.walk(item) is None
    assert wire.survey(native, _field(0x0A, _field(0x12, _field(0x12, item)))) == NOT_SURE


def _field(tag: int, body: bytes) -> bytes:
    return bytes([tag]) + varint.encode(len(body)) + body


def test_parts_are_counted_above_a_size(native: Any) -> None:
    """Where Python's check counts them: see tests/otlp/test_request.py."""
    body = request([span()]).SerializeToString()
    assert native.survey(wire.SCHEMA, body, len(body), 0) == CLEAN
    assert native.survey(wire.SCHEMA, body, len(body) - 1, 0) == NOT_SURE
    assert native.survey(wire.SCHEMA, body, len(body) - 1, 100) == CLEAN


def test_kin(native: Any) -> None:
    """Names are told by the beginnings of attributes; what is no message has no kin."""
    starts = tuple(KeyValue(key=name).SerializeToString() for name in ("a", "b", "long" * 50))
    held: list[dict[str, Any]] = [{"b": 1}, {"a": 1, "long" * 50: 2}, {"c": "a", "ab": "b"}]
    items = [span(attributes).SerializeToString() for attributes in held]
    assert [names for *_, names in native.kin(items, starts)] == [2, 5, 0]
    assert native.kin([*items, b"\x0a"], starts) is None
    assert native.kin([], starts) == []


_PLAIN = st.one_of(
    _TEXTS,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.lists(_TEXTS, max_size=4),
)


@given(_TEXTS.filter(bool), _PLAIN)
@inputs(300, 0.2)
def test_an_attribute(native: Any, name: str, plain: Any) -> None:
    """The bytes are those that protobuf writes."""
    expected = Span(attributes=[KeyValue(key=name, value=any_value(plain))])
    made = native.attribute(KeyValue(key=name).SerializeToString(), plain)
    assert made == expected.SerializeToString()


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (2**63, ValueError), (-(2**63) - 1, ValueError), ("\ud800", UnicodeEncodeError),
        (None, TypeError), ([1], TypeError),
    ],
)  # fmt: skip
def test_what_is_no_value(native: Any, plain: Any, error: type[Exception]) -> None:
    """It says so, and makes nothing."""
    with pytest.raises(error):
        native.attribute(b"", plain)


def test_what_is_not_there(native: Any) -> None:
    """Attributes that a span does not have, and arguments of another type."""
    walked = native.walk(span({"key": "text"}).SerializeToString())
    for wrong in (1, -1, "0", None, 2**80):
        with pytest.raises((IndexError, OverflowError)):
            walked.value(wrong)
    for parts in ([1], [(b"", 1)], ["x"], [(0, 0)], [(b"", 0, 0)]):
        with pytest.raises(IndexError):
            walked.edited(parts)
    calls: list[Callable[[], Any]] = [
        lambda: walked.edited(None),
        lambda: native.walk("text"),
        lambda: native.survey("text", b"", 1, 1),
        lambda: native.attribute("text", 1),
        lambda: native.kin([None], ()),
        lambda: native.kin([], (b"x",)),
        lambda: type(walked)(),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
