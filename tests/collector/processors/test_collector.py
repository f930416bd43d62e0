"""Processors in the running collector: what reaches the disk, the backend and /metrics."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight import conventions as c
from support.backend import Backend, Reply
from support.collector import Collector, run_to_end, settings
from support.processing import any_value, request, span
from support.waiting import eventually

SECRETS = (b"bob@example.org", b"sk-proj-abcdefghij1234567890", b"what the user said")
PROCESSORS = {
    "content": {"services": {"billing": "off"}},
    "redact": {"enabled": True},
}


def test_nothing_secret_reaches_disk_backend_or_metrics(tmp_path: Path) -> None:
    """Content under `off` and secrets are gone before the log, and so everywhere after it."""
    text = " ".join(secret.decode() for secret in SECRETS[:2])
    traces = request([span({c.INPUT_VALUE: "what the user said", "note": text})], service="billing")
    logs = ExportLogsServiceRequest()
    scope = logs.resource_logs.add().scope_logs.add()
    scope.log_records.add(body=any_value(text))
    ok = Reply(200, b"", {"Content-Type": "application/x-protobuf"})
    with Backend(lambda _: ok) as backend:
        store = {"type": "otlp_http", "name": "store", "url": backend.url, "timeout_seconds": 120}
        config = settings(tmp_path, processors=PROCESSORS, destinations=[store])
        with Collector(config, tmp_path) as collector:
            assert collector.post(traces.SerializeToString())[0] == 200
            assert collector.post(logs.SerializeToString(), "/v1/logs")[0] == 200
            received = eventually(lambda: len(backend.requests) == 2 and list(backend.requests))
            assert collector.metric("sidelight_collector_redacted_total", rule="email") == 2
            assert collector.metric("sidelight_collector_redacted_total", rule="api_key") == 2
            everything = [gzip.decompress(each.body) for each in received]
            everything.append(collector.get("/metrics")[1].encode())
            # While it runs, files come and go.
            assert collector.terminate() == 0
        everything += [
            _readable(path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()
        ]
    assert not [secret for secret in SECRETS for data in everything if secret in data]
    stored = ExportTraceServiceRequest.FromString(everything[0])
    assert stored.resource_spans[0].scope_spans[0].spans[0].attributes[0].key == "note"


@pytest.mark.parametrize(
    ("processors", "message"),
    [
        (
            {"redact": {"enabled": True, "patterns": [{"name": "x", "pattern": "("}]}},
            "processors.redact.patterns.0.pattern: not RE2 syntax",
        ),
        ({"extensions": ["no_such_module:f"]}, "no_such_module cannot be imported"),
        ({"prices": "none.yaml"}, "processors.prices: none.yaml: cannot be read"),
    ],
)
def test_a_configuration_that_cannot_be_used(
    tmp_path: Path, processors: dict[str, object], message: str
) -> None:
    """The collector says which key is wrong and exits 2."""
    code, messages = run_to_end(settings(tmp_path, processors=processors), tmp_path)
    assert code == 2
    assert any(message in line for line in messages)


def _readable(data: bytes) -> bytes:
    """Stored bytes with every gzip stream in them opened."""
    opened = [data]
    start = data.find(b"\x1f\x8b\x08")
    while start >= 0:
        with suppress(zlib.error):  # the same three bytes by chance
            opened.append(zlib.decompressobj(31).decompress(data[start:]))
        start = data.find(b"\x1f\x8b\x08", start + 1)
    return b"".join(opened)
