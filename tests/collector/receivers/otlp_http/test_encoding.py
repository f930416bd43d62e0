"""gzip and OTLP's JSON: what is taken, and what is refused before it costs memory or time."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from functools import partial

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.receivers.common import json_body
from sidelight.collector.receivers.common.gzip_body import TooLargeError, gunzip
from sidelight.collector.receivers.common.json_body import JsonBodies
from sidelight.collector.receivers.otlp_http.encoding import from_json
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
        from_json("traces", text if isinstance(text, bytes) else text.encode())
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
        assert from_json("traces", json.dumps(values).encode()) == request.SerializeToString()

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
            (b'{"a": ' + b"9" * 10_000 + b"}", "integer"),
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

    async def test_large_json_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By its length before it is read, by its objects while it is."""
        too_long = b" " * (json_body.MAX_JSON_BYTES + 1)
        with pytest.raises(TooLargeError, match="smaller batches, or protobuf"):
            await JsonBodies().convert(partial(from_json, "traces"), too_long)
        monkeypatch.setattr(json_body, "MAX_JSON_OBJECTS", 100)
        with pytest.raises(TooLargeError, match="more than 100 objects"):
            from_json("traces", b'{"resourceSpans": [' + b"{}," * 200 + b"{}]}")
