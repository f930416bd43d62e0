"""gzip and OTLP's JSON: what is taken, and what is refused before it costs memory or time."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.receivers.common import json_body
from sidelight.collector.receivers.common.gzip_body import TooLargeError, gunzip
from sidelight.collector.receivers.otlp_http.otlp_json import from_json
from sidelight.otlp.request import MalformedError

_MIB = 1024 * 1024


class TestGunzip:
    @pytest.mark.parametrize("size", [0, 1, 1000, 3 * _MIB])
    def test_what_was_compressed_comes_back(self, size: int) -> None:
        """From one member, from several, and up to exactly the limit."""
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert gunzip(gzip.compress(data), size) == data
        assert gunzip(gzip.compress(data) * 3, 3 * size) == data * 3

    def test_a_bomb_is_refused_in_bounded_memory(self) -> None:
        """A gigabyte in a megabyte stops at the limit."""
        bomb = gzip.compress(bytes(64 * _MIB)) * 16
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeError, match="larger than 4194304 bytes"):
                gunzip(bomb, 4 * _MIB)
            assert tracemalloc.get_traced_memory()[1] < 16 * _MIB
        finally:
            tracemalloc.stop()

    def test_one_byte_over_the_limit_is_too_large(self) -> None:
        """The limit is exact."""
        with pytest.raises(TooLargeError):
            gunzip(gzip.compress(bytes(1001)), 1000)

    @pytest.mark.parametrize("cut", [1, 4, 8, 9, 20])
    def test_truncated(self, cut: int) -> None:
        """A stream that ends early is malformed, never half a body."""
        with pytest.raises(MalformedError, match="ends too early"):
            gunzip(gzip.compress(b"hello" * 100)[:-cut], _MIB)

    @pytest.mark.parametrize("at", [0, 5, 30, -6, -2])
    def test_flipped_bits(self, at: int) -> None:
        """Header, data, checksum and length are all checked."""
        data = bytearray(gzip.compress(bytes(range(256))))
        data[at] ^= 0xFF
        if at == 5:  # the modification time means nothing
            assert gunzip(bytes(data), _MIB) == bytes(range(256))
            return
        with pytest.raises(MalformedError):
            gunzip(bytes(data), _MIB)

    @pytest.mark.parametrize("body", [b"", b"hello", zlib.compress(b"hello"), b"\x1f\x8b"])
    def test_no_gzip(self, body: bytes) -> None:
        """Nothing, text and zlib are no gzip."""
        with pytest.raises(MalformedError):
            gunzip(body, _MIB)

    def test_garbage_behind_the_stream(self) -> None:
        """What follows must be another member."""
        with pytest.raises(MalformedError):
            gunzip(gzip.compress(b"x") + b"garbage!", _MIB)

    def test_a_million_empty_members_are_refused_quickly(self) -> None:
        """They would take hours: each costs a look at all the bytes behind it."""
        with pytest.raises(MalformedError, match="more than 256 members"):
            gunzip(gzip.compress(b"") * 1_000_000, 64 * _MIB)


def _span(text: str | bytes) -> Span:
    request = ExportTraceServiceRequest.FromString(
        from_json("traces", text if isinstance(text, bytes) else text.encode()).body
    )
    (span,) = request.resource_spans[0].scope_spans[0].spans
    return span


def _request(span: dict[str, object]) -> str:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


class TestJson:
    def test_otlps_own_rules(self) -> None:
        """Hex ids in any case, numbers as text, enums as numbers, unknown fields, nested values."""
        span = _span(
            _request(
                {
                    "traceId": "5B8EFFF798038103D269B633813FC60C",
                    "spanId": "eee19b7ec3c1b174",
                    "parentSpanId": "",
                    "name": "I'm a server span",
                    "kind": 2,
                    "startTimeUnixNano": "1544712660000000000",
                    "endTimeUnixNano": 1544712661000000000,
                    "notOfThisVersion": {"x": [1, 2]},
                    "attributes": [
                        {"key": "int", "value": {"intValue": "-9223372036854775808"}},
                        {"key": "float", "value": {"doubleValue": "NaN"}},
                        {"key": "bytes", "value": {"bytesValue": "AAE="}},
                        {
                            "key": "map",
                            "value": {
                                "kvlistValue": {
                                    "values": [
                                        {"key": "traceId", "value": {"stringValue": "no id"}}
                                    ]
                                }
                            },
                        },
                        {"key": "none", "value": {}},
                    ],
                    "links": [{"traceId": "01" * 16, "spanId": "02" * 8}],
                    "status": {"code": 2, "message": "bad"},
                }
            )
        )
        assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
        assert span.span_id.hex() == "eee19b7ec3c1b174"
        assert span.parent_span_id == b""
        assert span.kind == Span.SPAN_KIND_SERVER
        assert span.start_time_unix_nano == 1544712660000000000
        assert span.end_time_unix_nano == 1544712661000000000
        values = {pair.key: pair.value for pair in span.attributes}
        assert values["int"].int_value == -(2**63)
        assert values["float"].double_value != values["float"].double_value
        assert values["bytes"].bytes_value == b"\x00\x01"
        assert values["map"].kvlist_value.values[0].value.string_value == "no id"
        assert values["none"].WhichOneof("value") is None
        assert (span.links[0].trace_id, span.links[0].span_id) == (b"\x01" * 16, b"\x02" * 8)
        assert span.status.message == "bad"

    def test_an_enum_of_a_later_version_is_kept_apart(self) -> None:
        """A name we do not know leaves the field unset, a number is passed on."""
        assert _span(_request({"kind": "SPAN_KIND_SERVER"})).kind == Span.SPAN_KIND_SERVER
        assert _span(_request({"kind": "NO_SUCH_KIND"})).kind == Span.SPAN_KIND_UNSPECIFIED
        assert _span(_request({"kind": 77})).kind == 77

    def test_null_is_absent(self) -> None:
        """As in protobuf's JSON, an id may be null."""
        span = _span(_request({"traceId": "01" * 16, "spanId": "02" * 8, "parentSpanId": None}))
        assert span.parent_span_id == b""

    def test_the_same_request_in_both_encodings(self) -> None:
        """What protobuf's own JSON writer makes, with hex ids, is the same request again."""
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add(schema_url="s").scope_spans.add(schema_url="t")
        span = scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="ü", kind=3, flags=257)
        span.events.add(name="e", time_unix_nano=2**63).attributes.add(key="k")
        values = json.loads(json_format.MessageToJson(request))
        raw = values["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        for key in ("traceId", "spanId"):
            raw[key] = base64.b64decode(raw[key]).hex()
        converted = from_json("traces", json.dumps(values).encode())
        assert (converted.body, converted.invalid) == (request.SerializeToString(), 0)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", "Expecting value"),
            (b"{", "Expecting property name"),
            (b"[]", "must be a JSON object"),
            (b"1", "must be a JSON object"),
            (b"null", "must be a JSON object"),
            (b'"text"', "must be a JSON object"),
            (b"\xff\xfe\x00", "decode"),
            (b'{"resourceSpans": 5}', "resourceSpans"),
            (b'{"resourceSpans": [5]}', "JSON: ."),
            (b'{"resourceSpans": {"a": 1}}', "JSON: ."),
            (_request({"traceId": "xyz"}).encode(), "traceId must be hexadecimal"),
            (_request({"traceId": 5}).encode(), "traceId must be hexadecimal"),
            (_request({"spanId": ["01"]}).encode(), "spanId must be hexadecimal"),
            (_request({"name": 5}).encode(), "name"),
            (_request({"name": "\ud800"}).encode(), "JSON: ."),
            (_request({"startTimeUnixNano": "-1"}).encode(), "startTimeUnixNano"),
            (_request({"startTimeUnixNano": 10**400}).encode(), "startTimeUnixNano"),
            (b"[" * 100_000, "recursion"),
            (b'{"a":' * 100_000, "recursion"),
        ],
    )
    def test_malformed(self, body: bytes, said: str) -> None:
        """Each is malformed, in one short line that names what is wrong."""
        with pytest.raises(MalformedError, match=said) as caught:
            from_json("traces", body)
        assert len(str(caught.value)) < 300
        assert "\n" not in str(caught.value)

    def test_values_nested_too_deep(self) -> None:
        """The depth that JSON's reader takes and protobuf's does not."""
        value: dict[str, object] = {"stringValue": "x"}
        for _ in range(150):
            value = {"arrayValue": {"values": [value]}}
        with pytest.raises(MalformedError):
            from_json("traces", _request({"attributes": [{"key": "k", "value": value}]}).encode())

    def test_what_is_wrong_is_said_without_the_value(self) -> None:
        """SDKs log what they are answered: the sender's content must not be in it."""
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":1,"flags":"my prompt"}]}]}]}'
        with pytest.raises(MalformedError) as caught:
            from_json("traces", body)
        assert "flags" in str(caught.value)
        assert "my prompt" not in str(caught.value)

    def test_a_large_body_is_read_item_by_item(self) -> None:
        """OpenTelemetry JS sends 512 spans at once, and prompts of 20 kB make that 10 MB."""
        spans = [_valid(name=f"{number}", text="p" * 20_000) for number in range(512)]
        body = _body(spans)
        assert len(body) > json_body.MAX_JSON_BYTES
        converted = from_json("traces", body)
        assert converted.invalid == 0
        request = ExportTraceServiceRequest.FromString(converted.body)
        assert len(request.resource_spans[0].scope_spans[0].spans) == 512

    @pytest.mark.parametrize(
        ("value", "bad"),
        [
            ("lone surrogate", b'{"stringValue": "\\ud800"}'),
            ("NaN", b'{"doubleValue": NaN}'),
            ("bad UTF-8", b'{"stringValue": "\xff"}'),
            ("wrong kind", b'{"intValue": "x"}'),
            ("too deep", b'{"arrayValue": {"values": [' * 200 + b"]}}" * 200),
        ],
    )
    def test_one_bad_item_costs_no_other(self, value: str, bad: bytes) -> None:
        """The span is left out and counted."""
        marked = _body([_valid("a"), _valid("MARK", text="MARK"), _valid("b")])
        body = marked.replace(b'{"stringValue": "MARK"}', bad)
        assert body != marked
        converted = from_json("traces", body)
        request = ExportTraceServiceRequest.FromString(converted.body)
        names = [span.name for span in request.resource_spans[0].scope_spans[0].spans]
        assert (names, converted.invalid) == (["a", "b"], 1), value

    @pytest.mark.parametrize(
        "bad",
        [b'{"stringValue": "cut \\ud83d"}', b'{"stringValue": "\\ude00"}', b'{"doubleValue": NaN}',
         b'{"doubleValue": -Infinity}'],
    )  # fmt: skip
    def test_one_bad_item_of_a_large_body(self, bad: bytes) -> None:
        """A batch of prompts in which JavaScript cut one in the middle of an emoji."""
        texts = [r'["\ud83d\ude00 \\ud83d"]' + "p" * 20_000, "MARK", "NaN" + "p" * 20_000]
        spans = [_valid(name=f"{number}", text=texts[number % 3]) for number in range(0, 900)]
        spans = [span for number, span in enumerate(spans) if number % 3 != 1 or number == 1]
        marked = _body(spans)
        body = marked.replace(b'{"stringValue": "MARK"}', bad)
        assert len(body) > json_body.MAX_JSON_BYTES
        assert body != marked
        converted = from_json("traces", body)
        assert converted.invalid == 1
        request = ExportTraceServiceRequest.FromString(converted.body)
        kept = request.resource_spans[0].scope_spans[0].spans
        assert len(kept) == 600
        assert {span.attributes[0].value.string_value for span in kept} == {texts[0], texts[2]}

    def test_a_bad_resource_costs_its_own_items(self) -> None:
        """Nobody could say whose they are."""
        values = json.loads(_body([_valid("a"), _valid("b")]))
        values["resourceSpans"].append(
            {**json.loads(_body([_valid("c")]))["resourceSpans"][0], "resource": {"attributes": 5}}
        )
        converted = from_json("traces", json.dumps(values).encode())
        assert converted.invalid == 1
        assert len(ExportTraceServiceRequest.FromString(converted.body).resource_spans) == 1

    def test_what_is_not_json_to_the_letter_is_read_within_limits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By its length before it is read, by its objects while it is."""
        too_long = b" " * json_body.MAX_JSON_BYTES + b"NaN"
        with pytest.raises(TooLargeError, match="smaller batches, or protobuf"):
            from_json("traces", too_long)
        monkeypatch.setattr(json_body, "MAX_JSON_OBJECTS", 100)
        with pytest.raises(TooLargeError, match="more than 100 objects"):
            from_json("traces", b'{"resourceSpans": [NaN,' + b"{}," * 200 + b"{}]}")


def _valid(name: str, text: str = "") -> dict[str, object]:
    attribute = {"key": "k", "value": {"stringValue": text}}
    return {"traceId": "01" * 16, "spanId": "02" * 8, "name": name, "attributes": [attribute]}


def _body(spans: list[dict[str, object]]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
