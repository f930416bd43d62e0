"""The Zipkin receiver at a running collector, with the real exporter and by hand."""

from __future__ import annotations

import gzip
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from sidelight import conventions as c
from sidelight.otlp.span import attributes
from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.waiting import PATIENCE_SECONDS, eventually

TOKEN = "zipkin-token-0123456789"
SPAN = {"traceId": "1" * 32, "id": "2" * 16, "name": "get", "timestamp": 1000, "duration": 250}


def zipkin(**options: Any) -> dict[str, Any]:
    return {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"enabled": False},
        "zipkin": {"enabled": True, "port": 0, **options},
    }


def url_of(collector: Collector) -> str:
    """Where the collector's first lines say that it listens for Zipkin."""
    address = next(
        match[1]
        for line in collector.messages
        if (match := re.search(r"Zipkin on (\S+?)(?:,|$)", line))
    )
    return f"http://{address}/api/v2/spans"


def post(url: str, body: bytes, **headers: str) -> tuple[int, str]:
    """Status and words of the answer."""
    given = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, given), timeout=PATIENCE_SECONDS
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def stored(store: OtlpStore, span_id: bytes) -> tuple[dict[str, Any], str, Span]:
    """Resource attributes, scope name and span, once it has arrived."""

    def find() -> tuple[dict[str, Any], str, Span] | None:
        for resource, scope, span in store.with_origin():
            if span.span_id == span_id:
                return attributes(resource.attributes), scope.name, span
        return None

    eventually(lambda: find() is not None)
    found = find()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def store() -> Iterator[OtlpStore]:
    with OtlpStore() as store:
        yield store


@pytest.fixture(scope="module")
def collector(store: OtlpStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    directory = tmp_path_factory.mktemp("zipkin")
    config = settings(directory, receivers=zipkin(), destinations=[store.destination()])
    with Collector(config, directory) as collector:
        yield collector


def test_the_real_exporter_s_spans_arrive(collector: Collector, store: OtlpStore) -> None:
    """With ids, times, kind, status, scope and service as the SDK has them."""
    provider = TracerProvider(resource=Resource.create({c.SERVICE_NAME: "zipkin-app"}))
    exporter = ZipkinExporter(endpoint=url_of(collector), timeout=int(PATIENCE_SECONDS))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("a.scope", "1.2")
    with (
        tracer.start_as_current_span("parent", kind=SpanKind.SERVER) as parent,
        tracer.start_as_current_span("child", attributes={"llm": "yes"}) as child,
    ):
        child.add_event("first token")
        child.set_status(StatusCode.ERROR, "it broke")
    provider.shutdown()
    made = child.get_span_context()
    resource, scope, span = stored(store, made.span_id.to_bytes(8))
    assert span.trace_id == made.trace_id.to_bytes(16)
    assert span.parent_span_id == parent.get_span_context().span_id.to_bytes(8)
    assert (span.name, span.status.message) == ("child", "it broke")
    assert "first token" in span.events[0].name
    assert attributes(span.attributes)["llm"] == "yes"
    assert (resource[c.SERVICE_NAME], scope) == ("zipkin-app", "a.scope")


def test_gzip_and_a_missing_content_type(collector: Collector) -> None:
    """As Zipkin's own server takes them."""
    body = gzip.compress(json.dumps([SPAN | {"id": "3" * 16}]).encode())
    assert post(url_of(collector), body, Content_Encoding="gzip") == (202, "")


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"[", {}, 400, "not valid JSON"),
        (b"[{}]", {}, 400, "span 0: traceId"),
        (b"[]", {"Content_Type": "application/x-protobuf"}, 415, "application/json"),
        (b"[]", {"Content_Encoding": "br"}, 415, "gzip or absent"),
        (b"x", {"Content_Encoding": "gzip"}, 400, "gzip body"),
    ],
)
def test_what_is_refused(
    collector: Collector, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    """With a sentence that says what to change."""
    code, said = post(url_of(collector), body, **headers)
    assert (code, words in said) == (status, True), said


def test_other_paths_and_methods(collector: Collector) -> None:
    """Zipkin's version 1 is not served."""
    url = url_of(collector)
    assert post(url.replace("v2", "v1"), b"[]")[0] == 404
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=PATIENCE_SECONDS)
    assert caught.value.code == 405


def test_tokens_and_tenants(tmp_path: Path, store: OtlpStore) -> None:
    """As at the other receivers."""
    config = settings(
        tmp_path,
        receivers=zipkin(),
        auth={"tokens": [{"env": "TOKEN", "tenant": "team-z"}]},
        destinations=[store.destination()],
    )
    body = json.dumps([SPAN | {"id": "4" * 16}]).encode()
    with Collector(config, tmp_path, env={"TOKEN": TOKEN}) as collector:
        url = url_of(collector)
        assert post(url, body)[0] == 401
        assert post(url, body, Authorization=f"Bearer {TOKEN}")[0] == 202
        resource, _, _ = stored(store, bytes.fromhex("4" * 16))
        assert resource[c.TENANT] == "team-z"
