"""Whatever bytes a sender calls OTLP: they are taken, or refused by name; nothing else happens."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.base.budget import Budget
from sidelight.base.http_server import HttpRequest, HttpResponse
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.ingest.intake import Receipt
from sidelight.collector.ingest.refusals import Refusals
from sidelight.collector.metrics.instruments import Counter
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.gzip_body import TooLargeError, gunzip
from sidelight.collector.receivers.otlp_http import receiver as otlp_http
from sidelight.collector.receivers.otlp_http.otlp_json import from_json
from sidelight.otlp.request import FULL, MalformedError, count, halves, parse
from sidelight.otlp.signals import SIGNALS, Signal
from sidelight.otlp.stamp import Stamp
from support.admission import open_to_all
from support.fuzzing import inputs
from support.recorded_spans import request_of, vllm_spans

_RECORDED = request_of(vllm_spans()[:4])
_BODY = _RECORDED.SerializeToString()
_JSON = json_format.MessageToJson(_RECORDED, indent=None).encode()
_GZIP = gzip.compress(_BODY)
_CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 6), st.binary(max_size=6)), max_size=5
)
_Changes = list[tuple[int, int, bytes]]

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["5b8e", "00" * 8, "AAE=", "NaN", "1" * 25]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "resourceSpans", "scopeSpans", "spans", "resource", "scope", "attributes", "key",
                "value", "stringValue", "intValue", "doubleValue", "boolValue", "arrayValue",
                "kvlistValue", "values", "bytesValue", "traceId", "spanId", "parentSpanId", "name",
                "kind", "startTimeUnixNano", "status", "code", "events", "links", "flags", "x",
                "resourceMetrics", "scopeMetrics", "metrics", "gauge", "dataPoints", "asInt",
                "resourceLogs", "scopeLogs", "logRecords", "body",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


def _changed(data: bytes, changes: _Changes) -> bytes:
    changed = bytearray(data)
    for at, lost, new in changes:
        at %= len(changed) + 1
        changed[at : at + lost] = new
    return bytes(changed)


@given(_CHANGES, st.sampled_from(SIGNALS))
@inputs(300, share=0.25)
def test_protobuf(changes: _Changes, signal: Signal) -> None:
    """What the lens takes can be counted, halved and decoded."""
    body = _changed(_BODY, changes)
    try:
        view = parse(signal, body)
    except MalformedError:
        return
    assert count(view) >= 0
    FULL[signal].FromString(view.SerializeToString())
    parts = halves(body)
    if parts is not None:
        assert sum(items for _, items in parts) == count(view)
        for half, _ in parts:
            FULL[signal].FromString(half)


@given(st.binary(max_size=300), st.sampled_from(SIGNALS))
@inputs(200, share=0.1)
def test_any_bytes(body: bytes, signal: Signal) -> None:
    """Bytes out of nowhere are protobuf or malformed."""
    said = _refusal(lambda: parse(signal, body))
    assert said is None or len(said) < 300


@given(_CHANGES, st.integers(0, 20_000))
@inputs(300, share=0.1)
def test_gzip(changes: _Changes, limit: int) -> None:
    """What inflates is what gzip itself makes of it, within the limit."""
    data = _changed(_GZIP, changes)
    try:
        body = gunzip(data, limit)
    except (MalformedError, TooLargeError):
        return
    assert len(body) <= limit
    assert body == gzip.decompress(data)


@given(_CHANGES, st.sampled_from(SIGNALS))
@inputs(200, share=0.1)
def test_damaged_json(changes: _Changes, signal: Signal) -> None:
    """A request with a few bytes changed."""
    _read_json(_changed(_JSON, changes), signal)


@given(_values, st.sampled_from(SIGNALS))
@inputs(300, share=0.1)
def test_json_of_another_shape(value: Any, signal: Signal) -> None:
    """The right words in the wrong places."""
    text = json.dumps(value)
    _read_json(text.encode(), signal)
    _read_json(json.dumps({"resourceSpans": [{"scopeSpans": [value]}]}).encode(), signal)


def _read_json(body: bytes, signal: Signal) -> None:
    said = _refusal(lambda: parse(signal, from_json(signal, body).body))
    assert said is None or (len(said) < 400 and "\n" not in said)


def _refusal(call: Callable[[], object]) -> str | None:
    """What a sender is told, or None if its request is taken."""
    try:
        call()
    except MalformedError as error:
        return str(error)
    return None


class _Taking:
    """Stands for an intake that parses and keeps nothing."""

    refusals = Refusals(Registry())

    async def accept(
        self,
        signal: Signal,
        body: bytes,
        stamp: Stamp | None = None,
        *,
        already_refused: int = 0,
    ) -> Receipt:
        parse(signal, body)
        return Receipt()


@pytest.fixture(scope="module")
def export() -> Any:
    """The handler of OTLP/HTTP, called directly."""
    requests = Counter("requests", "Requests", ("protocol", "outcome"))
    handle = otlp_http.handler(
        Config().receivers.otlp_http,
        _Taking(),  # type: ignore[arg-type]
        requests,
        open_to_all(),
        otlp_http.OtlpPaths(),
        Budget(1 << 30),
    )

    def call(request: HttpRequest) -> HttpResponse:
        return asyncio.run(handle(request))  # type: ignore[arg-type]

    return call


@given(
    changes=_CHANGES,
    encoding=st.sampled_from([None, "identity", "gzip", "br", "gzip, gzip"]),
    content_type=st.sampled_from(
        ["application/x-protobuf", "application/json", "application/json;x", "", "a/b"]
    ),
    start=st.sampled_from([_BODY, _JSON, _GZIP, gzip.compress(_JSON), b""]),
)
@inputs(200, share=0.05)
def test_any_request_is_answered(
    export: Any, changes: _Changes, encoding: str | None, content_type: str, start: bytes
) -> None:
    """With one of the statuses that OTLP has for it, and an answer in the request's encoding."""
    headers = {"content-type": content_type}
    if encoding is not None:
        headers["content-encoding"] = encoding
    body = bytearray(_changed(start, changes))
    answer = export(HttpRequest("POST", "/v1/traces", headers, body))
    assert answer.status in (200, 400, 413, 415)
    if answer.status in (200, 400):
        assert answer.headers["Content-Type"] == content_type.partition(";")[0]


def test_the_inputs_are_no_straw_men() -> None:
    """Unchanged, each is taken."""
    assert ExportTraceServiceRequest.FromString(_BODY) == _RECORDED
    assert count(parse("traces", _BODY)) == 4
    assert gunzip(_GZIP, 1 << 20) == _BODY
