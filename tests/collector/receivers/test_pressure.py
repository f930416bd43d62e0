"""What senders are told when the collector cannot keep what they send."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from sidelight.base.budget import Budget, OverBudgetError
from sidelight.base.http_server import Handler, HttpRequest
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.ingest.intake import Receipt, UnavailableError
from sidelight.collector.ingest.refusals import Refusals
from sidelight.collector.metrics.instruments import Counter
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.otlp_grpc import messages
from sidelight.collector.receivers.otlp_grpc.receiver import OtlpGrpcReceiver
from sidelight.collector.receivers.otlp_http import receiver as otlp_http
from sidelight.otlp.signals import Signal
from sidelight.otlp.stamp import Stamp
from support.admission import open_to_all, receiver_context
from support.span_load import EXPORT_TRACES
from support.waiting import eventually_async


class _Refusing:
    """Stands for an intake that is in trouble."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def accept(
        self,
        signal: Signal,
        body: bytes,
        stamp: Stamp | None = None,
        *,
        already_refused: int = 0,
    ) -> Receipt:
        raise self.error


_BUSY = UnavailableError("too much waits", is_busy=True, retry_after_seconds=3)
_DISK = UnavailableError("the disk is full", is_busy=False, retry_after_seconds=5)


def _counter() -> Counter:
    return Counter("requests", "Requests", ("protocol", "outcome"))


@pytest.mark.parametrize(
    ("error", "status", "seconds"), [(_BUSY, 429, "3"), (_DISK, 503, "5")], ids=["busy", "disk"]
)
@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/json"])
async def test_http_says_when_to_come_again(
    error: UnavailableError, status: int, seconds: str, content_type: str
) -> None:
    """Both are statuses that OTLP's senders repeat, with Retry-After and a Status."""
    handle = otlp_http.handler(
        Config().receivers.otlp_http,
        _Refusing(error),  # type: ignore[arg-type]
        _counter(),
        open_to_all(),
        otlp_http.OtlpPaths(),
    )
    body = b"{}" if content_type.endswith("json") else b""
    answer = await handle(HttpRequest("POST", "/v1/traces", {"content-type": content_type}, body))
    assert (answer.status, answer.headers["Retry-After"]) == (status, seconds)
    if content_type.endswith("json"):
        said = json.loads(answer.body)["message"]
    else:
        said = Status.FromString(answer.body).message
    assert said == str(error)


@pytest.fixture
async def call() -> AsyncIterator[Callable[[Exception], object]]:
    """Call Export on a gRPC server whose intake fails with the given error."""
    servers: list[OtlpGrpcReceiver] = []

    async def attempt(error: Exception) -> grpc.aio.AioRpcError:
        config = Config(receivers={"otlp_grpc": {"port": 0}}).receivers.otlp_grpc
        server = OtlpGrpcReceiver(config, receiver_context(_Refusing(error)))  # type: ignore[arg-type]
        servers.append(server)
        address = await server.start()
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(channel.unary_unary(EXPORT_TRACES)(b""), 120)
            return caught.value

    yield attempt
    for server in servers:
        await server.stop(0)


@pytest.mark.parametrize(
    ("error", "code"),
    [(_BUSY, grpc.StatusCode.RESOURCE_EXHAUSTED), (_DISK, grpc.StatusCode.UNAVAILABLE)],
    ids=["busy", "disk"],
)
async def test_grpc_says_when_to_come_again(
    call: Callable[[Exception], object], error: UnavailableError, code: grpc.StatusCode
) -> None:
    """RetryInfo makes RESOURCE_EXHAUSTED one that senders repeat."""
    found = await call(error)  # type: ignore[misc]
    assert (found.code(), found.details()) == (code, str(error))
    details = dict(found.trailing_metadata())["grpc-status-details-bin"]
    status = Status.FromString(details)
    retry = RetryInfo()
    assert status.code == code.value[0]
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds == error.retry_after_seconds


async def test_a_fault_of_ours_is_internal(call: Callable[[Exception], object]) -> None:
    """It is not called the sender's, says nothing of what was sent, and the server goes on."""
    found = await call(RuntimeError("secret content"))  # type: ignore[misc]
    assert found.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in str(found.details())


class _Storing:
    """An intake that keeps everything."""

    def __init__(self) -> None:
        self.refusals = Refusals(Registry())

    async def accept(self, *_: object, **__: object) -> Receipt:
        return Receipt()


class _Waiting:
    """An intake whose disk takes for ever."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()

    async def accept(self, *_: object, **__: object) -> Receipt:
        self.has_begun.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def test_what_was_decompressed_is_given_back() -> None:
    """After an answer of any kind, and if nobody waits for it any more."""
    content = ExportTraceServiceRequest(resource_spans=[ResourceSpans()]).SerializeToString()
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    request = HttpRequest("POST", "/v1/traces", headers, gzip.compress(content))

    def handler(intake: object, budget: Budget) -> Handler:
        config, paths = Config().receivers.otlp_http, otlp_http.OtlpPaths()
        return otlp_http.handler(config, intake, _counter(), open_to_all(), paths, budget)  # type: ignore[arg-type]

    for intake, status in ((_Storing(), 200), (_Refusing(_BUSY), 429)):
        budget = Budget(1000)
        assert (await handler(intake, budget)(request)).status == status
        assert budget.used == 0
    waiting, budget = _Waiting(), Budget(1000)
    answering = asyncio.ensure_future(handler(waiting, budget)(request))
    await waiting.has_begun.wait()
    assert budget.used == len(content)
    answering.cancel()
    await asyncio.wait([answering])
    assert budget.used == 0


async def test_a_sender_whose_time_has_ended_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes room by itself; to cut it off again would fail the call that asks for room."""
    monkeypatch.setattr(messages, "_PATIENT_SECONDS", 0.01)
    monkeypatch.setattr(messages, "_WAIT_SECONDS", 0.01)
    budget = Budget(1)
    reader = messages.MessageReader(budget, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0) as limit:
            await asyncio.Event().wait()
    reader._readings[limit] = 0.0
    await budget.take_in_turn(1, 0.01)
    with pytest.raises(OverBudgetError):
        await reader._take(1)


async def test_a_frozen_sender_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call is cut off with a status that senders repeat, and the other one is served."""
    monkeypatch.setattr(messages, "_PATIENT_SECONDS", 0.01)
    monkeypatch.setattr(messages, "_SLOW_SECONDS", 0.0)
    limits = {"port": 0, "max_message_bytes": 1 << 20, "max_buffered_bytes": 1 << 20}
    config = Config(receivers={"otlp_grpc": limits}).receivers.otlp_grpc
    server = OtlpGrpcReceiver(config, receiver_context(_Storing()))  # type: ignore[arg-type]
    address = await server.start()
    async with (
        grpc.aio.insecure_channel(address) as channel,
        grpc.aio.insecure_channel(address) as other,
    ):
        frozen = channel.stream_unary(EXPORT_TRACES)()
        await eventually_async(lambda: server.load().buffered_bytes)
        assert await other.unary_unary(EXPORT_TRACES)(b"") == b""
        assert await frozen.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await server.stop(0)
    assert server.load().buffered_bytes == 0
