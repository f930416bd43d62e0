"""The OTLP/gRPC destination against a real gRPC server."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from urllib.parse import urlsplit

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.outcome import Delivered, Rejected, Retry
from sidelight.collector.destinations.otlp_grpc import exporter as otlp_grpc
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.destinations.otlp_grpc.exporter import OtlpGrpcExporter
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal
from support import otlp_requests
from support.otlp_grpc_server import Answer, OtlpGrpcServer
from support.ports import free_port
from support.proxy import ForwardProxy
from support.waiting import PATIENCE_SECONDS, eventually_async


@pytest.fixture
def server() -> Iterator[OtlpGrpcServer]:
    # A port that nobody else is given while a test restarts it.
    with OtlpGrpcServer(port=free_port()) as server:
        yield server


@pytest.fixture
def destination(server: OtlpGrpcServer) -> Iterator[OtlpGrpcExporter]:
    destination = build(server.url)
    yield destination
    destination.close()


def build(url: str, **options: object) -> OtlpGrpcExporter:
    config = {"type": "otlp_grpc", "name": "grpc", "url": url, "timeout_seconds": 120} | options
    return otlp_grpc.build(OtlpGrpcDestination.model_validate(config))


@pytest.mark.parametrize(
    ("signal", "record", "method"),
    [
        ("traces", otlp_requests.traces([otlp_requests.span()]), "trace.v1.TraceService"),
        ("metrics", otlp_requests.metrics(), "metrics.v1.MetricsService"),
        ("logs", otlp_requests.logs(), "logs.v1.LogsService"),
    ],
)
async def test_each_signal_goes_to_its_service(
    server: OtlpGrpcServer,
    destination: OtlpGrpcExporter,
    signal: Signal,
    record: Record,
    method: str,
) -> None:
    """The stored request arrives as it was stored, gzipped on the way."""
    assert await destination.send(record) == Delivered()
    (call,) = server.calls
    assert call.method == f"/opentelemetry.proto.collector.{method}/Export"
    assert call.body == gzip.decompress(record.payload)
    assert call.metadata["user-agent"].startswith("sidelight/")


async def test_secrets_go_as_metadata(
    server: OtlpGrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers are read when they are used; one that is missing is told, and nothing is sent."""
    destination = build(server.url, headers={"Authorization": {"env": "GRPC_KEY"}})
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    assert "$GRPC_KEY is not set" in outcome.reason
    assert server.calls == []
    monkeypatch.setenv("GRPC_KEY", "Bearer abc")
    assert await destination.send(otlp_requests.logs()) == Delivered()
    assert server.calls[0].metadata["authorization"] == "Bearer abc"
    destination.close()


async def test_partial_success_counts(
    server: OtlpGrpcServer, destination: OtlpGrpcExporter
) -> None:
    """What the backend rejects of a batch is told with its reason."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "too old"
    server.answer = Answer(body=response.SerializeToString())
    record = otlp_requests.traces([otlp_requests.span()])
    assert await destination.send(record) == Delivered(2, said="too old")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer(grpc.StatusCode.UNAVAILABLE, "later"),
            "answered UNAVAILABLE: it cannot be reached",
        ),
        (Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down"), "RESOURCE_EXHAUSTED"),
        (Answer(grpc.StatusCode.INTERNAL), "INTERNAL"),
        (Answer(grpc.StatusCode.UNIMPLEMENTED), "correct url or signals"),
        (Answer(grpc.StatusCode.NOT_FOUND), "correct url or headers"),
        (Answer(grpc.StatusCode.UNAUTHENTICATED), "check whether it requires a header"),
    ],
)
async def test_what_time_or_a_person_can_mend_is_retried(
    server: OtlpGrpcServer, destination: OtlpGrpcExporter, answer: Answer, expected: str
) -> None:
    """Pressure, outages and wrong keys lose nothing."""
    server.answer = answer
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    assert expected in outcome.reason
    assert answer.details == outcome.said
    assert not answer.details or answer.details not in outcome.reason


async def test_the_backend_says_when(server: OtlpGrpcServer, destination: OtlpGrpcExporter) -> None:
    """RetryInfo tells how long to wait."""
    server.answer = Answer(grpc.StatusCode.UNAVAILABLE, "busy", retry_seconds=7.5)
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds == 7.5


async def test_a_bad_batch_is_refused(
    server: OtlpGrpcServer, destination: OtlpGrpcExporter
) -> None:
    """INVALID_ARGUMENT blames the batch, which is then halved."""
    server.answer = Answer(grpc.StatusCode.INVALID_ARGUMENT, "bad span")
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Rejected)
    assert outcome.status == 400


async def test_a_batch_above_the_cap_is_rejected(
    server: OtlpGrpcServer, destination: OtlpGrpcExporter
) -> None:
    """gRPC's own cap of 4 MiB answers as pressure does; it is told from it, and halving helps."""
    outcome = await destination.send(otlp_requests.logs("x" * 5_000_000))
    assert isinstance(outcome, Rejected)
    assert outcome.status == 413
    assert server.calls == []


_TOO_LARGE = {
    "grpc-go": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "grpc: received message after decompression larger than max (5000000 vs. 4194304)",
    ),
    "grpc-java": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "gRPC message exceeds maximum size 4194304: 5000000",
    ),
    "grpc-java decompressed": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Decompressed gRPC message exceeds maximum size 4194304",
    ),
    "tonic": (
        grpc.StatusCode.OUT_OF_RANGE,
        "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes",
    ),
    "in other words": (grpc.StatusCode.RESOURCE_EXHAUSTED, "no"),
    "a proxy that cuts": (grpc.StatusCode.UNAVAILABLE, "upstream connect error"),
    "a server that resets": (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
}


@pytest.mark.parametrize(("code", "words"), _TOO_LARGE.values(), ids=_TOO_LARGE)
async def test_too_large_in_any_words(code: grpc.StatusCode, words: str) -> None:
    """Status and size decide: above gRPC's usual limit, and above all that was accepted."""
    with OtlpGrpcServer(max_message_bytes=64 * 1024 * 1024) as server:
        destination = build(server.url)
        server.answer = Answer(code, words)
        large, small = otlp_requests.logs("x" * 5_000_000), otlp_requests.logs("x")
        outcome = await destination.send(large)
        assert isinstance(outcome, Rejected)
        assert outcome.status == 413
        outcome = await destination.send(small)
        assert isinstance(outcome, Rejected) == (code is grpc.StatusCode.OUT_OF_RANGE)
        # A backend that takes large ones is overloaded, if it says that it is exhausted.
        server.answer = Answer()
        assert await destination.send(large) == Delivered()
        server.answer = Answer(code, words)
        assert not isinstance(
            await destination.send(otlp_requests.logs("x" * 4_900_000)), Delivered
        )
        server.answer = Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        assert isinstance(await destination.send(otlp_requests.logs("x" * 4_900_000)), Retry)
        destination.close()


async def test_a_limit_below_the_usual_one(server: OtlpGrpcServer) -> None:
    """A server that accepts a kilobyte at most is known by what it has accepted."""
    destination = build(server.url)
    assert await destination.send(otlp_requests.logs("x" * 500)) == Delivered()
    server.answer = Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
    outcome = await destination.send(otlp_requests.logs("x" * 2000))
    assert isinstance(outcome, Rejected)
    server.answer = Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, "no", retry_seconds=1)
    outcome = await destination.send(otlp_requests.logs("x" * 2000))
    assert isinstance(outcome, Retry)
    assert outcome.is_destinations
    destination.close()


async def test_a_hang_ends_at_the_timeout(server: OtlpGrpcServer) -> None:
    """A server that never answers gives the sender back."""
    server.answer = Answer(hang=True)
    hasty = build(server.url, timeout_seconds=0.3)
    outcome = await hasty.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    assert "no answer within 0.3 s" in outcome.reason
    hasty.close()


async def test_close_ends_a_send(server: OtlpGrpcServer) -> None:
    """A shutdown does not wait for a backend that hangs, and nothing is sent after it."""
    server.answer = Answer(hang=True)
    destination = build(server.url, timeout_seconds=60)
    sending = asyncio.create_task(destination.send(otlp_requests.logs()))
    await eventually_async(lambda: server.calls)
    destination.close()
    assert isinstance(await sending, Retry)
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    assert "is closing" in outcome.reason


async def test_a_restarted_server_is_found_again(
    server: OtlpGrpcServer, destination: OtlpGrpcExporter
) -> None:
    """While it is down the batch is retried; once it is back it goes through."""
    assert await destination.send(otlp_requests.logs()) == Delivered()
    server.close()
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    with OtlpGrpcServer(port=server.port) as again:
        async with asyncio.timeout(PATIENCE_SECONDS):
            # gRPC waits a while before it connects again.
            while await destination.send(otlp_requests.logs()) != Delivered():
                await asyncio.sleep(0.1)
        assert len(again.calls) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://127.0.0.1:4317/v1/traces"}, "gRPC has no paths"),
        ({"headers": {"a b": {"env": "X"}}}, "not a valid metadata key of gRPC"),
        ({"headers": {"grpc-timeout": {"env": "X"}}}, "not a valid metadata key of gRPC"),
    ],
)
def test_bad_options_are_told(options: dict[str, object], problem: str) -> None:
    """What gRPC cannot carry is an error of the configuration."""
    with pytest.raises(ConfigError, match=problem):
        build(**({"url": "http://127.0.0.1:1"} | options))  # type: ignore[arg-type]


async def test_a_proxy_is_used_but_never_for_loopback(
    server: OtlpGrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rule of HTTP destinations, not by gRPC's own, which knows no exception."""
    for name in ("http_proxy", "no_proxy", "NO_PROXY", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    port = urlsplit(server.url).port
    assert port is not None
    async with ForwardProxy(port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        direct, proxied = build(server.url), build("http://backend.test:4317")
        assert await direct.send(otlp_requests.logs()) == Delivered()
        assert proxy.request_lines == []
        assert await proxied.send(otlp_requests.logs()) == Delivered()
        assert proxy.request_lines == ["CONNECT backend.test:4317 HTTP/1.1"]
        direct.close()
        proxied.close()


async def test_an_unusable_proxy_setting_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes out past a proxy that was asked for."""
    monkeypatch.setenv("http_proxy", "socks5://me:secret@proxy.test")
    destination = build("http://backend.test:4317")
    outcome = await destination.send(otlp_requests.logs())
    assert isinstance(outcome, Retry)
    assert "http_proxy: " in outcome.reason
    assert "secret" not in outcome.reason
    destination.close()
