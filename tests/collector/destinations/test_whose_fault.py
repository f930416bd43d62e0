"""Each type of destination: one that rejects everything loses nothing, one bad item only itself."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cramjam
import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from sidelight.collector.destinations.registry import TYPES
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record
from support import otlp_requests
from support.backend import Backend, Reply, Request
from support.otlp_grpc_server import Answer, OtlpGrpcServer
from support.sending import Sending, opened

_ITEMS = 8
_STATUSES = [
    *(302, 400, 401, 403, 404, 405, 406, 409, 410, 411, 413, 415, 417, 418, 421, 422, 423, 424),
    *(425, 426, 428, 429, 431, 451, 499, 500, 502, 503, 504),
]
_TYPES: dict[str, dict[str, Any]] = {
    "otlp_http": {"signals": ["traces"]},
    "phoenix": {},
    "langfuse": {"public_key": {"env": "SOME_KEY"}, "secret_key": {"env": "SOME_KEY"}},
    "splunk_hec": {"token": {"env": "SOME_KEY"}},
    "prometheus_remote_write": {},
}
every_type = pytest.mark.parametrize("type_name", _TYPES)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DurableLog]:
    """A log on disk."""
    with opened(tmp_path / "log") as log:
        yield log


def destination(type_name: str, url: str, **keys: object) -> dict[str, Any]:
    times = {"max_backoff_seconds": 0.02, "max_blocked_seconds": 0.1, "timeout_seconds": 120}
    return {"type": type_name, "name": "it", "url": url, **times, **_TYPES[type_name], **keys}


def record(type_name: str, *names: str) -> Record:
    """A batch with an item of each name."""
    if type_name != "prometheus_remote_write":
        return otlp_requests.traces([otlp_requests.span(name) for name in names])
    request = ExportMetricsServiceRequest()
    for name in names:
        metric = otlp_requests.metrics(name)
        part = ExportMetricsServiceRequest.FromString(metric.body())
        request.resource_metrics.extend(part.resource_metrics)
    payload = gzip.compress(request.SerializeToString())
    return Record("metrics", payload, len(names), metric.time_ns)


def text(request: Request) -> bytes:
    """The body as it was before it was compressed."""
    match request.headers.get("content-encoding"):
        case "snappy":
            return bytes(cramjam.snappy.decompress_raw(request.body))
        case "gzip":
            return gzip.decompress(request.body)
    return request.body


def names(start: str) -> list[str]:
    return [f"{start}_{number}" for number in range(_ITEMS)]


def _answer(reply: Reply, _: Request) -> Reply:
    return reply


async def _retried(sending: Sending) -> None:
    """Return once it was retried long enough for every way of asking."""
    before = sending.tally.counts["it", "retried"]
    await sending.until(lambda: sending.tally.counts["it", "retried"] > before + 8)


@every_type
async def test_every_status_that_comes_for_everything(
    type_name: str, log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is given up, few requests are made, and everything arrives when it is corrected."""
    monkeypatch.setenv("SOME_KEY", "a-key-of-the-tests")
    # The types share what judges an answer; each has a way of its own to send nothing.
    statuses = _STATUSES if type_name == "otlp_http" else [400, 403, 413, 426, 500]
    with Backend() as backend:
        async with Sending(log, destination(type_name, backend.url)) as sending:
            for status in statuses:
                reply = Reply(status, b"no")
                backend.respond = partial(_answer, reply)
                sending.append(record(type_name, *names(f"a{status}")))
                await _retried(sending)
                assert f"answered {status}" in str(sending.forwarders[0].status.trouble)
                assert log.cursor("it").position < log.end
                backend.respond = partial(_answer, Reply())
                await sending.until(lambda: log.cursor("it").position == log.end)
        assert sending.tally.counts["it", "delivered"] == _ITEMS * len(statuses)
    assert not (tmp_path / "log" / "dead-letters" / "it.jsonl").exists()


@every_type
@pytest.mark.parametrize(
    "reply",
    [Reply(400), Reply(403), Reply(413), Reply(500), Reply(502), Reply(fault="no answer")],
    ids=lambda reply: reply.fault or str(reply.status),
)
async def test_one_bad_item(
    type_name: str, reply: Reply, log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone is given up, whatever is answered to the batches that hold it."""
    monkeypatch.setenv("SOME_KEY", "a-key-of-the-tests")

    def respond(request: Request) -> Reply:
        return reply if b"a_5" in text(request) else Reply()

    with Backend(respond) as backend:
        async with Sending(log, destination(type_name, backend.url)) as sending:
            sending.append(record(type_name, *names("a")), record(type_name, *names("b")))
            await sending.until(lambda: log.cursor("it").position == log.end)
        assert sending.tally.counts["it", "delivered"] == 2 * _ITEMS - 1
        assert sending.tally.counts["it", "dropped", "dead_lettered"] == 1
    assert len((tmp_path / "log" / "dead-letters" / "it.jsonl").read_text().splitlines()) == 1


async def test_every_grpc_code_that_comes_for_everything(log: DurableLog, tmp_path: Path) -> None:
    """As over HTTP: no code alone makes a batch the one to blame."""
    codes = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    with OtlpGrpcServer() as server:
        grpc_destination = destination("otlp_http", server.url, type="otlp_grpc")
        async with Sending(log, grpc_destination) as sending:
            for code in codes:
                server.answer = Answer(code, "http2 frame with an unknown type")
                sending.append(record("otlp_grpc", *names(code.name)))
                await _retried(sending)
                assert log.cursor("it").position < log.end
                server.answer = Answer()
                await sending.until(lambda: log.cursor("it").position == log.end)
        assert sending.tally.counts["it", "delivered"] == _ITEMS * len(codes)
    assert not (tmp_path / "log" / "dead-letters" / "it.jsonl").exists()


async def test_a_span_above_grpcs_limit(log: DurableLog, tmp_path: Path) -> None:
    """Its batch is halved down to it by the real limit of 4 MiB, and it alone is given up."""
    spans = [otlp_requests.span(name) for name in names("a")]
    spans[3].attributes.add(key="text").value.string_value = "x" * 5_000_000
    with OtlpGrpcServer() as server:
        grpc_destination = destination("otlp_http", server.url, type="otlp_grpc")
        async with Sending(log, grpc_destination) as sending:
            sending.append(otlp_requests.traces(spans))
            await sending.until(lambda: log.cursor("it").position == log.end)
        assert sending.tally.counts["it", "delivered"] == _ITEMS - 1
    assert len((tmp_path / "log" / "dead-letters" / "it.jsonl").read_text().splitlines()) == 1


def test_every_type_with_a_url_is_tried() -> None:
    """A new type has to be added here."""
    assert _TYPES.keys() | {"otlp_grpc", "file"} == TYPES.keys()
