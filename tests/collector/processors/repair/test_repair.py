"""Texts and numbers that a backend's database refuses are made harmless before the disk."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.start import start
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.collector.processors.repair.suspects import Suspects, has_zero
from sidelight.collector.processors.repair.texts import repair_span, repaired
from sidelight.otlp.otlp_pb2 import Request
from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.processing import any_value, pairs, span
from support.waiting import eventually

BAD = "a\0b"
GOOD = "a\ufffdb"


def traces(*spans: Span, resource: dict[str, Any] | None = None) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(pairs(resource or {}))
    of_resource.scope_spans.add().spans.extend(spans)
    return request


def processed(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """What a pipeline that only repairs makes of a request."""
    body = request.SerializeToString()
    sliced = Request.FromString(body)
    Pipeline(repairs=True).traces(sliced, body)
    return ExportTraceServiceRequest.FromString(sliced.SerializeToString())


def one(request: ExportTraceServiceRequest) -> Span:
    return processed(request).resource_spans[0].scope_spans[0].spans[0]


def test_u_0000_is_replaced_wherever_a_text_is() -> None:
    """In keys and values at any depth, names, messages, events, links, resource and scope."""
    made = span({BAD: {BAD: [BAD, {"b": BAD}]}}, name=BAD, events=[(BAD, {BAD: BAD})])
    made.trace_state = BAD
    made.status.message = BAD
    made.links.add(trace_id=b"\1" * 16, span_id=b"\1" * 8, trace_state=BAD).attributes.extend(
        pairs({BAD: BAD})
    )
    request = traces(made, resource={BAD: BAD})
    scope = request.resource_spans[0].scope_spans[0].scope
    scope.name = scope.version = BAD
    scope.attributes.extend(pairs({BAD: BAD}))
    expected = request.SerializeToString().replace(b"\0b", b"\xef\xbf\xbdb")
    found = processed(request)
    assert GOOD in str(found.resource_spans[0].resource.attributes[0].value.string_value)
    assert b"a\0b" not in found.SerializeToString()
    assert found.SerializeToString().count(GOOD.encode()) == expected.count(GOOD.encode())


@pytest.mark.parametrize(
    "text", ["\0", "\0\0", "x\0", "\0x", "\n\0", "9\0", "A" + "\0" * 9, "\0\x12\t!"]
)
def test_no_place_in_a_span_hides_it(text: str) -> None:
    """Also where a byte of zero would belong to a time, a number or the flags."""
    for field in ("name", "value", "key", "status", "nested"):
        made = span({"n": 0, "d": 1.0, "b": False, "e": ""})
        made.flags = 0x101
        match field:
            case "name":
                made.name = text
            case "value":
                made.attributes.extend(pairs({"k": text}))
            case "key":
                made.attributes.extend(pairs({text: 1}))
            case "status":
                made.status.message = text
            case "nested":
                made.attributes.extend(pairs({"k": [{"a": text}]}))
        assert text.encode() in made.SerializeToString()
        found = one(traces(made))
        texts = [found.name, found.status.message, str(found.attributes)]
        assert not any("\0" in each or "\\000" in each for each in texts)


def test_attributes_without_a_value_are_left_out() -> None:
    """Whether the value is missing or empty; an older Langfuse loses the batch for one."""
    made = span({"a": 1})
    made.attributes.add(key="missing")
    made.attributes.add(key="empty", value=AnyValue())
    made.attributes.extend(pairs({"z": ""}))
    event = made.events.add(name="e")
    event.attributes.add(key="missing")
    event.attributes.extend(pairs({"kept": 1}))
    request = traces(made)
    request.resource_spans[0].resource.attributes.add(key="missing")
    found = processed(request)
    repaired_span = found.resource_spans[0].scope_spans[0].spans[0]
    assert [pair.key for pair in repaired_span.attributes if pair.key in "a missing empty z"] == [
        "a",
        "z",
    ]
    assert [pair.key for pair in repaired_span.events[0].attributes] == ["kept"]
    assert not found.resource_spans[0].resource.attributes


def test_a_span_with_one_missing_value_and_nothing_else() -> None:
    """No byte of zero is in it, which would have it opened."""
    made = Span(trace_id=b"\1" * 16, span_id=b"\2" * 8, name="n")
    made.attributes.add(key="k")
    assert b"\0" not in made.SerializeToString()
    assert not one(traces(made)).attributes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'{"a":"x\u0000y"}', r'{"a":"x\ufffdy"}'),
        (r'["\ud83d"]', r'["\ufffd"]'),
        (r'["\ud83d\ude00"]', r'["\ud83d\ude00"]'),
        (r'["\ude00\ud83d"]', r'["\ufffd\ufffd"]'),
        (r'["\uD83D\uD83D\uDE00"]', r'["\ufffd\uD83D\uDE00"]'),
        (r'["\\u0000 \\ud83d"]', r'["\\u0000 \\ud83d"]'),
        (r'{"a":"\\ud83d\udc00"}', r'{"a":"\\ud83d\ufffd"}'),
        (r'["\\\ud83d\ude00"]', r'["\\\ud83d\ude00"]'),
        (r'["\ud83d\udeZZ"]', r'["\ufffd\ufffd"]'),
        (r'["\ud8é\udc00"]', r'["\ufffdudc00"]'),
        (r'["\\uD8é\udc00"]', r'["\\uD8é\ufffd"]'),
        (r"write \u0000 in C", r"write \u0000 in C"),
    ],
)
def test_escapes_in_json(text: str, expected: str) -> None:
    """A backend that reads the JSON has the character itself. Other texts stay as they were."""
    assert one(traces(span({"input.value": text}))).attributes[0].value.string_value == expected
    if text[0] in "[{":
        json.dumps(json.loads(expected), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (math.nan, "NaN"),
        (-math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers_that_json_lacks_become_texts(number: float, text: str) -> None:
    """As OTLP/JSON writes them: `NaN` in a backend's JSON is an error of its database."""
    found = one(traces(span({"score": number, "scores": [1.0, number]})))
    values = {pair.key: pair.value for pair in found.attributes}
    assert values["score"].string_value == text
    assert values["scores"].array_value.values[1].string_value == text
    assert values["scores"].array_value.values[0].double_value == 1.0


def test_clean_spans_stay_the_bytes_they_were() -> None:
    """With numbers of zero, empty texts, flags and times."""
    made = [span({"n": 0, "d": 1.0, "e": "", "t": "x" * 300}) for _ in range(3)]
    made[0].flags = 0x101
    before = traces(*made)
    assert processed(before).SerializeToString() == before.SerializeToString()


def test_plain_spans_are_not_opened() -> None:
    """Ids, times and flags have bytes of zero in most of them."""
    made = span({"http.route": "/item"})
    made.trace_id, made.span_id, made.flags = b"\0" * 15 + b"\1", b"\0" * 7 + b"\1", 0x101
    made.start_time_unix_nano = made.end_time_unix_nano = 1 << 56
    item = made.SerializeToString()
    assert Suspects(item, []).among([item], [start(item)]) == []


def test_numbers_and_pairs_of_surrogates_open_no_span() -> None:
    """Zeros, false, whole doubles and empty texts are in most calls of models, emoji in many."""
    made = span({"n": 0, "b": False, "d": 1.0, "e": "", "t": r'["\ud83d\ude00"]', "half": 0.5})
    made.flags = 0x301
    item = made.SerializeToString()
    assert Suspects(item, [b""]).among([item], [start(item)]) == []


def test_log_records() -> None:
    """Body, attributes, severity and event name."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.CopyFrom(any_value({BAD: [BAD, math.nan]}))
    record.severity_text = record.event_name = BAD
    record.attributes.extend([*pairs({BAD: BAD}), KeyValue(key="none")])
    sliced = Request.FromString(request.SerializeToString())
    assert Pipeline(repairs=True).logs(sliced).changed
    found = ExportLogsServiceRequest.FromString(sliced.SerializeToString())
    assert b"\0" not in found.SerializeToString()
    assert found.SerializeToString().count(GOOD.encode()) == 6
    assert len(found.resource_logs[0].scope_logs[0].log_records[0].attributes) == 1


@given(st.binary(max_size=200), st.text(max_size=20), st.dictionaries(st.text(), st.text()))
def test_what_holds_u_0000_is_suspected(
    noise: bytes, name: str, attributes: dict[str, str]
) -> None:
    """No span that the slow way changes for it is passed over."""
    made = span(attributes, name=name)
    made.attributes.extend(pairs({"bytes": noise}))
    item = made.SerializeToString()
    texts = [name, *attributes, *attributes.values()]
    if any("\0" in text for text in texts):
        assert has_zero(item, start(item))
        assert repair_span(made)


@given(st.text())
def test_repairing_is_idempotent(text: str) -> None:
    """What is sent again is stored as the same bytes, and found to be a repetition."""
    assert repaired(repaired(text)) == repaired(text)


def test_it_is_harmless_at_the_destination(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Over protobuf and JSON, at a running collector."""
    directory = tmp_path_factory.mktemp("repair")
    with OtlpStore() as store:
        destination = {"name": "store", "type": "otlp_http", "url": store.url}
        config = settings(directory, destinations=[destination])
        with Collector(config, directory) as collector:
            names = [f"{kind}-{os.urandom(4).hex()}\0" for kind in ("protobuf", "json")]
            made = span({BAD: BAD}, name=names[0])
            assert collector.post(traces(made).SerializeToString())[0] == 200
            of_json = {
                "traceId": "1" * 32,
                "spanId": "1" * 16,
                "name": names[1],
                "attributes": [{"key": BAD, "value": {"stringValue": BAD}}, {"key": "none"}],
            }
            body = {"resourceSpans": [{"scopeSpans": [{"spans": [of_json]}]}]}
            json_type = {"Content-Type": "application/json"}
            assert collector.post(json.dumps(body).encode(), headers=json_type)[0] == 200
            for name in names:
                shown = name.replace("\0", "\ufffd")
                (found,) = eventually(lambda shown=shown: store.spans(shown))
                assert [pair.key for pair in found.attributes] == [GOOD]
                assert found.attributes[0].value.string_value == GOOD
