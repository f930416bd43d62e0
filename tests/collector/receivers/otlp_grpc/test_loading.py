"""gRPC is loaded with the first connection that sends something; all clients are served."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.base.http_server import sockets
from sidelight.base.http_server.sockets import listening_socket
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.receivers.otlp_grpc import receiver
from sidelight.collector.receivers.otlp_grpc.early import EarlyConnections
from sidelight.collector.receivers.otlp_grpc.receiver import OtlpGrpcReceiver
from support import otlp_requests
from support.admission import receiver_context
from support.collector import Collector, settings
from support.span_load import EXPORT_TRACES
from support.waiting import PATIENCE_SECONDS, eventually, eventually_async

_LOADED = "first OTLP/gRPC connection: loaded gRPC"
# The preface and empty SETTINGS, with which each client begins (RFC 9113, section 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_PING, _GOAWAY = 6, 7
_A_PING = bytes([0, 0, 8, _PING, 0, 0, 0, 0, 0]) + bytes(8)
_NAME = "several.test"
SENDERS = 16


class _Receipt:
    rejected = 0
    reason = ""


class _Storing:
    """An intake that stores once it may."""

    def __init__(self) -> None:
        self.may_store = asyncio.Event()
        self.may_store.set()
        self.asked = 0

    async def accept(self, *_: object) -> _Receipt:
        self.asked += 1
        await self.may_store.wait()
        return _Receipt()


@asynccontextmanager
async def receiving(
    intake: _Storing, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[OtlpGrpcReceiver, str]]:
    """A receiver on a free port, and where it listens."""
    config = Config(receivers={"otlp_grpc": {"host": host, "port": 0}}).receivers.otlp_grpc
    built = OtlpGrpcReceiver(config, receiver_context(intake))  # type: ignore[arg-type]
    address = await built.start()
    try:
        yield built, address
    finally:
        await built.stop(0)


async def export(channel: grpc.aio.Channel) -> bytes:
    """Call Export. Connecting is tried again: the port is closed when gRPC takes it."""
    call = channel.unary_unary(EXPORT_TRACES)
    answer: bytes = await call(b"", timeout=PATIENCE_SECONDS, wait_for_ready=True)
    return answer


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = address.split(":")
    return await asyncio.open_connection(host, int(port))


async def frame(reader: asyncio.StreamReader) -> int:
    """The type of the next frame of HTTP/2."""
    head = await reader.readexactly(9)
    await reader.readexactly(int.from_bytes(head[:3]))
    return head[3]


def is_refused(address: str) -> bool:
    """Whether nobody listens."""
    host, port = address.split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == errno.ECONNREFUSED


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name for two addresses of this machine and one that it has not."""
    resolve = socket.getaddrinfo

    def resolve_ours(host: str, port: int, *kind: Any, **options: Any) -> list[Any]:
        hosts = ("127.0.0.1", "192.0.2.1", "127.0.0.2") if host == _NAME else (host,)
        return [each for host in hosts for each in resolve(host, port, *kind, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_ours)


def _has_grpc(collector: Collector) -> bool:
    return "cygrpc" in Path(f"/proc/{collector.pid}/maps").read_text()


def test_only_who_sends_something_loads_it(tmp_path: Path) -> None:
    """HTTP, and what only connects, as a health check of TCP does, leave 12 MB unused."""
    with Collector(settings(tmp_path), tmp_path) as collector:
        assert collector.post(b"")[0] == 200
        address = ("127.0.0.1", collector.grpc_port)
        with socket.create_connection(address, PATIENCE_SECONDS) as silent:
            silent.shutdown(socket.SHUT_WR)
            assert silent.recv(1) == b""
        assert not _has_grpc(collector)
        with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
            assert channel.unary_unary(EXPORT_TRACES)(b"", timeout=PATIENCE_SECONDS) == b""
        assert _has_grpc(collector)
        assert sum(_LOADED in message for message in collector.messages) == 1
        assert collector.terminate() == 0


def test_many_first_senders(tmp_path: Path) -> None:
    """All connections that are open while gRPC is loaded are served, with 4 MB each."""
    request = ExportTraceServiceRequest()
    span = otlp_requests.span()
    span.attributes.add(key="input.value").value.string_value = "x" * (4 << 20)
    request.resource_spans.add().scope_spans.add().spans.append(span)
    message = request.SerializeToString()
    answers: list[bytes] = []

    def send() -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}", options) as channel:
            grpc.channel_ready_future(channel).result(PATIENCE_SECONDS)
            answers.append(channel.unary_unary(EXPORT_TRACES)(message, timeout=PATIENCE_SECONDS))

    with Collector(settings(tmp_path), tmp_path) as collector:
        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [b""] * SENDERS
        assert sum(_LOADED in message for message in collector.messages) == 1


async def test_an_early_connection_is_told_to_connect_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By GOAWAY. A client that connects later is not; a channel's calls succeed all the time."""
    monkeypatch.setattr(receiver, "_EARLY_SECONDS", 0.01)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        receiving(_Storing()) as (_, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        early, early_writer = await connect(address)
        early_writer.write(_PREFACE)
        assert await export(channel) == b""
        while await frame(early) != _GOAWAY:
            pass
        later, later_writer = await connect(address)
        later_writer.write(_PREFACE)
        for _ in range(100):
            assert await export(channel) == b""
        later_writer.write(_A_PING)
        seen = [await frame(later)]
        while seen[-1] != _PING:
            seen.append(await frame(later))
        assert _GOAWAY not in seen
        early_writer.close()
        later_writer.close()


async def test_the_end_of_an_early_call_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping answers a call that came before gRPC was loaded, and closes silent connections."""
    # It is not told to connect again meanwhile.
    monkeypatch.setattr(receiver, "_EARLY_SECONDS", 3600.0)
    monkeypatch.setattr(receiver, "handshake_seconds", lambda _: 3600.0)
    intake = _Storing()
    intake.may_store.clear()
    async with asyncio.timeout(PATIENCE_SECONDS), receiving(intake) as (built, address):
        silent, writer = await connect(address)
        async with grpc.aio.insecure_channel(address) as channel:
            call = asyncio.create_task(export(channel))
            await eventually_async(lambda: intake.asked)
            stopping = asyncio.create_task(built.stop(PATIENCE_SECONDS))
            assert await silent.read() == b""
            await eventually_async(lambda: is_refused(address))
            assert not call.done()
            intake.may_store.set()
            assert await call == b""
            await stopping
        writer.close()


async def test_stopping_loads_nothing() -> None:
    """A client that comes in this moment is refused; a collector that ends opens no port."""
    async with asyncio.timeout(PATIENCE_SECONDS), receiving(_Storing()) as (built, address):
        reader, writer = await connect(address)
        # It is accepted, and has sent something that the collector has not read yet.
        await eventually_async(lambda: built._early._silent)
        writer.write(_PREFACE)
        await built.stop(0)
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        with pytest.raises(ConnectionError):
            await built._early_port()
        assert built._loading is None
        assert is_refused(address)
        writer.close()


async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that a handshake may take; gRPC is not loaded for it."""
    monkeypatch.setattr(receiver, "handshake_seconds", lambda _: 0.01)
    async with receiving(_Storing()) as (built, address):
        reader, writer = await connect(address)
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
        assert built._loading is None
        writer.close()


async def test_the_addresses_are_the_same_before_and_after() -> None:
    """With 0.0.0.0 gRPC listens on the addresses of IPv6 too, so we do until it is loaded."""
    async with receiving(_Storing(), host="0.0.0.0") as (_, address):
        port = address.rpartition(":")[2]
        for host in ("[::1]", "127.0.0.1") * 2:
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                assert await export(channel) == b""


@pytest.mark.usefixtures("named")
async def test_a_name_with_several_addresses() -> None:
    """All that there are have one port, before gRPC is loaded and after it."""
    async with receiving(_Storing(), host=_NAME) as (_, address):
        port = address.rpartition(":")[2]
        for host in ("127.0.0.1", "127.0.0.2") * 2:
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                assert await export(channel) == b""


async def test_too_many_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gRPC itself does, with those that wait for it."""
    monkeypatch.setattr(receiver, "MAX_CONNECTIONS", 3)
    async with receiving(_Storing()) as (_, address):
        first, first_writer = await connect(address)
        second, second_writer = await connect(address)
        assert await asyncio.wait_for(second.read(), PATIENCE_SECONDS) == b""
        first_writer.write(_PREFACE)
        assert await asyncio.wait_for(first.readexactly(1), PATIENCE_SECONDS)
        first_writer.close()
        second_writer.close()


async def test_loading_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If it fails, the connections are closed, the log says why, and a later one is served."""
    monkeypatch.setattr(receiver, "_RETRY_SECONDS", 0)
    server_type = receiver._server_type

    def broken() -> Any:
        monkeypatch.setattr(receiver, "_server_type", server_type)
        raise ImportError("libstdc++ is too old")

    monkeypatch.setattr(receiver, "_server_type", broken)
    async with receiving(_Storing()) as (_, address):
        reader, writer = await connect(address)
        writer.write(_PREFACE)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        assert "libstdc++ is too old" in caplog.text
        assert "pip install --force-reinstall grpcio" in caplog.text
        async with grpc.aio.insecure_channel(address) as channel:
            assert await export(channel) == b""


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("host", ["127.0.0.1", _NAME])
async def test_a_port_that_another_process_took_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    """Between our listener's end and gRPC's beginning it is free for a moment, at each address."""
    monkeypatch.setattr(receiver, "_LISTEN_SECONDS", 0.01)
    # The early connection lasts until the port is free again.
    monkeypatch.setattr(receiver, "_EARLY_SECONDS", 3600.0)
    thieves: list[socket.socket] = []
    hand_over = EarlyConnections.hand_over

    def hand_over_and_lose(self: EarlyConnections) -> None:
        addresses = self.addresses
        hand_over(self)
        if addresses:
            thieves.append(listening_socket(socket.AF_INET, (addresses[-1], int(port))))

    monkeypatch.setattr(EarlyConnections, "hand_over", hand_over_and_lose)
    caplog.set_level("INFO")
    async with receiving(_Storing(), host) as (_, address):
        port = address.partition(":")[2]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await export(channel) == b""
        await eventually_async(lambda: "trying again" in caplog.text)
        thieves.pop().close()
        await eventually_async(lambda: f"listens on {address} again" in caplog.text)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await export(channel) == b""
    assert caplog.text.count("trying again") == 1
    assert "stop the process that uses it" in caplog.text


async def test_a_connection_that_was_not_accepted_is_relayed() -> None:
    """It arrived just before the port was handed over. All bytes pass, both ways."""
    sent = bytes(range(256)) * 4096

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def server_port() -> int:
        port: int = server.sockets[0].getsockname()[1]
        return port

    async with asyncio.timeout(PATIENCE_SECONDS):
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        early = EarlyConnections(server_port, max_connections=1, silent_seconds=PATIENCE_SECONDS)
        port = await early.listen("127.0.0.1", 0, reuse_port=False)
        # The system makes the connection, as the loop has no turn until it is handed over.
        client = socket.create_connection(("127.0.0.1", port))
        early.hand_over()
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        writer.close()
        await early.wait_closed()
        server.close()
        await server.wait_closed()


async def test_files_that_run_out_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that cannot be accepted is accepted later."""
    monkeypatch.setattr(sockets, "_PAUSE_SECONDS", 0.01)
    accept = socket.socket.accept
    lacks = iter([OSError(errno.EMFILE, "Too many open files")])

    def accept_or_fail(self: socket.socket) -> Any:
        for error in lacks:
            raise error
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
    async with (
        receiving(_Storing()) as (_, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert await export(channel) == b""
    assert "cannot accept a connection (Too many open files)" in caplog.text


def test_a_second_one_on_the_port_is_refused(tmp_path: Path) -> None:
    """Before gRPC is loaded and after it; gRPC's servers would share the port by default."""
    with Collector(settings(tmp_path), tmp_path) as collector:
        for _ in range(2):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", collector.grpc_port))
            with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
                assert channel.unary_unary(EXPORT_TRACES)(b"", timeout=PATIENCE_SECONDS) == b""
            eventually(lambda: _LOADED in collector.output)
