"""Zipkin's JSON as OTLP: what each field becomes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.collector.receivers.common import json_body
from sidelight.collector.receivers.common.gzip_body import TooLargeError
from sidelight.collector.receivers.zipkin.spans import to_otlp
from sidelight.otlp.request import MalformedError, parse
from sidelight.otlp.span import attributes

SPAN = {"traceId": "1" * 32, "id": "2" * 16, "name": "get", "timestamp": 1000, "duration": 250}


def converted(*spans: Any) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(to_otlp(json.dumps(spans).encode()))


def only_span(**fields: Any) -> Span:
    (resource,) = converted(SPAN | fields).resource_spans
    (scope,) = resource.scope_spans
    (span,) = scope.spans
    return span


class TestFields:
    def test_ids_are_padded_and_times_are_nanoseconds(self) -> None:
        """Zipkin's trace ids may have 64 bits, its times are microseconds."""
        span = only_span(traceId="abc", parentId="f")
        assert span.trace_id.hex() == "abc".rjust(32, "0")
        assert span.parent_span_id.hex() == "f".rjust(16, "0")
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1_000_000, 1_250_000)

    @pytest.mark.parametrize("kind", ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"])
    def test_kinds(self, kind: str) -> None:
        """The four of Zipkin keep their names; a span without one is internal."""
        assert only_span(kind=kind).kind == Span.SpanKind.Value(f"SPAN_KIND_{kind}")
        assert only_span().kind == Span.SPAN_KIND_INTERNAL

    def test_endpoints(self) -> None:
        """The local one names the service, the remote one the peer."""
        request = converted(
            SPAN
            | {
                "localEndpoint": {"serviceName": "app", "ipv4": "10.0.0.1", "port": 80},
                "remoteEndpoint": {"serviceName": "db", "ipv6": "::1", "port": 5432},
            }
        )
        (resource,) = request.resource_spans
        assert attributes(resource.resource.attributes) == {c.SERVICE_NAME: "app"}
        assert attributes(resource.scope_spans[0].spans[0].attributes) == {
            c.PEER_SERVICE: "db",
            c.NETWORK_PEER_ADDRESS: "::1",
            c.NETWORK_PEER_PORT: 5432,
            c.NETWORK_LOCAL_ADDRESS: "10.0.0.1",
            c.NETWORK_LOCAL_PORT: 80,
        }

    def test_spans_are_grouped_by_service_and_scope(self) -> None:
        """One resource for each service, whatever the order."""
        request = converted(
            *(
                SPAN | {"id": str(number + 1), "localEndpoint": {"serviceName": name}}
                for number, name in enumerate(("a", "b", "a"))
            ),
            SPAN | {"tags": {"otel.library.name": "lib", "otel.library.version": "1"}},
        )
        found = [
            (
                attributes(resource.resource.attributes)[c.SERVICE_NAME],
                resource.scope_spans[0].scope.name,
                len(resource.scope_spans[0].spans),
            )
            for resource in request.resource_spans
        ]
        assert found == [("a", "", 2), ("b", "", 1), ("unknown_service", "lib", 1)]

    def test_annotations_are_events(self) -> None:
        """With their times."""
        (event,) = only_span(annotations=[{"timestamp": 5, "value": "first token"}]).events
        assert (event.time_unix_nano, event.name) == (5000, "first token")

    @pytest.mark.parametrize(
        ("tags", "code", "message"),
        [
            ({}, Status.STATUS_CODE_UNSET, ""),
            ({"error": "false"}, Status.STATUS_CODE_UNSET, ""),
            ({"error": ""}, Status.STATUS_CODE_ERROR, ""),
            ({"error": "true"}, Status.STATUS_CODE_ERROR, ""),
            ({"error": "timed out"}, Status.STATUS_CODE_ERROR, "timed out"),
            ({"otel.status_code": "OK"}, Status.STATUS_CODE_OK, ""),
            (
                {"otel.status_code": "ERROR", "otel.status_description": "no"},
                Status.STATUS_CODE_ERROR,
                "no",
            ),
        ],
    )
    def test_status(self, tags: dict[str, str], code: int, message: str) -> None:
        """Told by tags, which do not stay attributes."""
        span = only_span(tags=tags | {"http.method": "GET"})
        assert (span.status.code, span.status.message) == (code, message)
        assert attributes(span.attributes) == {"http.method": "GET"}

    def test_a_shared_span_gets_an_id_of_its_own(self) -> None:
        """The same each time, below the span of the client."""
        span = only_span(shared=True, kind="SERVER")
        assert span.parent_span_id.hex() == SPAN["id"]
        assert span.span_id.hex() != SPAN["id"]
        assert span == only_span(shared=True, kind="SERVER")


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"{", "not valid JSON"),
            (b"{}", "must be a JSON list"),
            (b"[1]", "span 0 must be a JSON object"),
            (b"[" * 100_000, "not valid JSON"),
        ],
    )
    def test_what_is_not_a_list_of_spans(self, body: bytes, words: str) -> None:
        """Without its words."""
        with pytest.raises(MalformedError, match=words):
            to_otlp(body)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"traceId": "secret"}, "span 1: traceId must be 1 to 32 hexadecimal"),
            ({"traceId": "0"}, "not all zero"),
            ({"id": None}, "span 1: id must be"),
            ({"parentId": "1" * 17}, "span 1: parentId must be 1 to 16"),
            ({"name": 4}, "span 1: name must be a string"),
            ({"name": "\ud800"}, "span 1: name must be valid Unicode"),
            ({"timestamp": "secret"}, "span 1: timestamp must be a number"),
            ({"timestamp": -1}, "between 0 and"),
            ({"duration": 1e300}, "between 0 and"),
            ({"duration": float("nan")}, "between 0 and"),
            ({"tags": ["secret"]}, "span 1: tags must be a JSON object"),
            ({"localEndpoint": "secret"}, "span 1: localEndpoint must be a JSON object"),
            ({"annotations": {"secret": 1}}, "span 1: annotations must be a list"),
            ({"annotations": [{"timestamp": True}]}, r"annotations\.0: timestamp"),
        ],
    )
    def test_a_bad_field_is_named_without_its_value(
        self, fields: dict[str, Any], words: str
    ) -> None:
        """SDKs log what they are answered."""
        with pytest.raises(MalformedError, match=words) as caught:
            converted(SPAN, SPAN | fields)
        assert "secret" not in str(caught.value)

    def test_too_many_objects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before they take the memory."""
        monkeypatch.setattr(json_body, "MAX_JSON_OBJECTS", 3)
        with pytest.raises(TooLargeError, match="more than 3 objects"):
            converted(*[SPAN] * 4)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [*SPAN, "tags", "kind", "shared", "parentId", "localEndpoint", "annotations"]
        ),
        _JSON,
    )
)
def test_whatever_comes_is_otlp_or_malformed(fields: dict[str, Any]) -> None:
    """And what is OTLP passes the check of everything that is received."""
    try:
        body = to_otlp(json.dumps([SPAN | fields]).encode())
    except MalformedError:
        return
    parse("traces", body)
