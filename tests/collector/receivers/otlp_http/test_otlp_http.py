"""OTLP/HTTP as a client sees it, at a running collector."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping

import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support import otlp_requests
from support.collector import Collector, fetch
from support.otlp_store import OtlpStore
from support.raw_http import RawClient, chunked
from support.raw_http import request as raw_request
from support.waiting import PATIENCE_SECONDS, eventually

_JSON = {"Content-Type": "application/json"}
_GZIP = {"Content-Encoding": "gzip"}


def _name() -> str:
    return f"span-{os.urandom(6).hex()}"


def _traces(*names: str) -> bytes:
    return gzip.decompress(
        otlp_requests.traces([otlp_requests.span(each) for each in names]).payload
    )


def _json(body: bytes) -> bytes:
    values = json.loads(json_format.MessageToJson(ExportTraceServiceRequest.FromString(body)))
    for resource in values["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                span["traceId"], span["spanId"] = os.urandom(16).hex(), os.urandom(8).hex()
    return json.dumps(values).encode()


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("is_json", [False, True])
def test_traces_in_every_encoding(
    collector: Collector, store: OtlpStore, is_gzip: bool, is_json: bool
) -> None:
    """200, an empty answer in the request's encoding, and the span at the destination."""
    name = _name()
    body = _json(_traces(name)) if is_json else _traces(name)
    headers = {**(_JSON if is_json else {}), **(_GZIP if is_gzip else {})}
    status, answered, answer = collector.post(
        gzip.compress(body) if is_gzip else body, headers=headers
    )
    assert status == 200
    if is_json:
        assert (answered["Content-Type"], answer) == ("application/json", b"{}")
    else:
        assert (answered["Content-Type"], answer) == ("application/x-protobuf", b"")
    eventually(lambda: store.spans(name))


def test_metrics_and_logs(collector: Collector, store: OtlpStore) -> None:
    """The other two signals have paths and answers of their own."""
    name = _name()
    status, _, answer = collector.post(
        gzip.decompress(otlp_requests.metrics(name).payload), "/v1/metrics"
    )
    assert status == 200
    assert ExportMetricsServiceResponse.FromString(answer) == ExportMetricsServiceResponse()
    status, _, answer = collector.post(
        gzip.decompress(otlp_requests.logs(name).payload), "/v1/logs"
    )
    assert status == 200
    assert ExportLogsServiceResponse.FromString(answer) == ExportLogsServiceResponse()
    eventually(lambda: store.named_metrics(name) and store.log_records(name))


def test_chunked_json_of_some_size(collector: Collector, store: OtlpStore) -> None:
    """Enough JSON to be read on a thread, in chunks, with a charset."""
    names = [_name() for _ in range(200)]
    headers = [
        ("Content-Type", "Application/JSON; charset=utf-8"),
        ("Transfer-Encoding", "chunked"),
    ]
    body = _json(_traces(*names))
    assert len(body) > 32 * 1024
    pieces = [body[at : at + 9999] for at in range(0, len(body), 9999)]
    with RawClient(collector.http_port) as client:
        client.send(raw_request(chunked(pieces), path="/v1/traces", headers=headers, length=False))
        assert client.answer().status == 200
    eventually(lambda: all(store.spans(name) for name in names))


def test_an_empty_request_is_fine(collector: Collector) -> None:
    """Nothing in it, nothing stored, 200."""
    assert collector.post(b"")[0] == 200
    assert collector.post(b"{}", headers=_JSON)[0] == 200


@pytest.mark.parametrize("is_json", [False, True])
def test_partial_success(collector: Collector, store: OtlpStore, is_json: bool) -> None:
    """Spans with bad ids are refused one by one, counted, and their neighbours kept."""
    names = [_name() for _ in range(5)]
    spans = [otlp_requests.span(name) for name in names]
    spans[0].trace_id = b""
    spans[2].span_id = bytes(8)
    spans[4].parent_span_id = b"odd"
    body = gzip.decompress(otlp_requests.traces(spans).payload)
    if is_json:
        values = json.loads(json_format.MessageToJson(ExportTraceServiceRequest.FromString(body)))
        for raw, span in zip(
            values["resourceSpans"][0]["scopeSpans"][0]["spans"], spans, strict=True
        ):
            raw["traceId"], raw["spanId"] = span.trace_id.hex(), span.span_id.hex()
            raw["parentSpanId"] = span.parent_span_id.hex()
        body = json.dumps(values).encode()
    before = collector.metric("sidelight_collector_refused_total", reason="ids")
    status, _, answer = collector.post(body, headers=_JSON if is_json else {})
    assert status == 200
    if is_json:
        partial = json.loads(answer)["partialSuccess"]
        assert partial["rejectedSpans"] == "3"
        said = partial["errorMessage"]
    else:
        response = ExportTraceServiceResponse.FromString(answer).partial_success
        assert response.rejected_spans == 3
        said = response.error_message
    assert "trace id" in said
    assert "span id" in said
    assert "parent" in said
    eventually(lambda: store.spans(names[1]) and store.spans(names[3]))
    assert not any(store.spans(names[bad]) for bad in (0, 2, 4))
    assert collector.metric("sidelight_collector_refused_total", reason="ids") == before + 3


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\x0a\xff", {}),
        (b"\x00" * 10, {}),
        (b"not gzip", _GZIP),
        (gzip.compress(b"x" * 1000, mtime=0)[:-3], _GZIP),
        (gzip.compress(b"\x0a\xff", mtime=0), _GZIP),
        (b"", _GZIP),
        (b"{", _JSON),
        (b'{"resourceSpans": 1}', _JSON),
        (gzip.compress(b"[]", mtime=0), {**_JSON, **_GZIP}),
    ],
)
def test_a_malformed_body_is_400_with_a_status(
    collector: Collector, body: bytes, headers: Mapping[str, str]
) -> None:
    """The answer holds google.rpc.Status in the encoding of the request."""
    status, answered, answer = collector.post(body, headers=headers)
    assert status == 400
    assert answered["Content-Type"] == headers.get("Content-Type", "application/x-protobuf")
    if "json" in answered["Content-Type"]:
        said = json_format.Parse(answer, Status()).message
    else:
        said = Status.FromString(answer).message
    assert "body" in said


def test_bad_text_in_one_string_is_malformed(collector: Collector) -> None:
    """Text that is no UTF-8 would fail a whole batch at a backend."""
    body = _traces("abcd").replace(b"abcd", b"ab\xffd")
    status, _, answer = collector.post(body)
    assert status == 400
    assert Status.FromString(answer).message


def test_what_is_too_large_is_413(collector: Collector) -> None:
    """As sent, and once decompressed."""
    assert collector.post(bytes((1 << 20) + 1))[0] == 413
    status, _, answer = collector.post(gzip.compress(bytes((4 << 20) + 1)), headers=_GZIP)
    assert status == 413
    assert "decompressed" in Status.FromString(answer).message


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "said"),
    [
        ("POST", "/", {}, 404, "/v1/traces, /v1/metrics, /v1/logs"),
        ("POST", "/v1/traces/", {}, 404, "/v1/traces"),
        ("GET", "/v1/traces", {}, 405, "POST"),
        ("PUT", "/v1/logs", {}, 405, "POST"),
        ("POST", "/v1/traces", {"Content-Type": "text/plain"}, 415, "application/x-protobuf"),
        ("POST", "/v1/traces", {"Content-Type": ""}, 415, "application/x-protobuf"),
        ("POST", "/v1/traces", {"Content-Encoding": "br"}, 415, "gzip"),
    ],
)
def test_wrong_paths_methods_and_types(
    collector: Collector, method: str, path: str, headers: Mapping[str, str], status: int, said: str
) -> None:
    """Each says what would be right."""
    names = {"Content-Type": "application/x-protobuf", **headers}
    with RawClient(collector.http_port) as client:
        client.send(raw_request(b"", method=method, path=path, headers=names.items()))
        answer = client.answer()
    assert answer.status == status
    assert said in answer.body.decode()
    if status == 405:
        assert answer.headers["allow"] == "POST"


_TO_TRACES = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n"


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_TO_TRACES.replace(b"POST", b"GET") + b"\r\n", 405),
        (_TO_TRACES.replace(b"traces", b"spans") + b"\r\n", 404),
        (_TO_TRACES + b"Content-Length: 0\r\nContent-Encoding: br\r\n\r\n", 415),
        (_TO_TRACES + b"Content-Length: 0\r\n\r\n", 400),
        (_TO_TRACES + b"Content-Length: 99999999\r\n\r\n", 413),
        (_TO_TRACES + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (_TO_TRACES + b"X: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    ],
    ids=["method", "path", "encoding", "body", "length", "smuggled", "headers"],
)
def test_every_fault_comes_as_a_status(
    collector: Collector, kind: str, request_bytes: bytes, status: int
) -> None:
    """Also what the HTTP server finds before anybody looks for OTLP."""
    if kind == "application/x-protobuf" and b"Content-Length: 0\r\n\r\n" in request_bytes:
        request_bytes = request_bytes.replace(b": 0\r\n\r\n", b": 1\r\n\r\n\xff")
    with RawClient(collector.http_port) as client:
        client.send(request_bytes.replace(b"%b", kind.encode(), 1))
        answer = client.answer()
    assert answer.status == status
    assert answer.headers["content-type"] == kind
    said = Status()
    if kind == "application/json":
        json_format.Parse(answer.body, said)
    else:
        said.ParseFromString(answer.body)
    assert said.message


def test_faults_without_an_encoding(collector: Collector) -> None:
    """On OTLP's own paths protobuf is what is expected; elsewhere people read the words."""
    for path, kind in (("/v1/traces", "application/x-protobuf"), ("/", "text/plain")):
        with RawClient(collector.http_port) as client:
            client.send(raw_request(method="GET", path=path))
            assert client.answer().headers["content-type"] == kind


def test_head_is_405_without_a_body(collector: Collector) -> None:
    """And the connection goes on."""
    with RawClient(collector.http_port) as client:
        client.send(raw_request(method="HEAD", path="/v1/traces"))
        assert client.answer(has_body=False).status == 405
        client.send(raw_request(method="GET", path="/nowhere"))
        assert client.answer().status == 404


def test_requests_are_counted_by_outcome(collector: Collector) -> None:
    """/metrics shows what clients were told."""
    name = "sidelight_collector_requests_total"
    before = {
        code: collector.metric(name, protocol="http", outcome=code) for code in ("200", "404")
    }
    collector.post(_traces(_name()))
    fetch(f"{collector.url}/nowhere", None, {}, PATIENCE_SECONDS)
    assert collector.metric(name, protocol="http", outcome="200") == before["200"] + 1
    assert collector.metric(name, protocol="http", outcome="404") == before["404"] + 1
