"""Receives OTLP over gRPC. gRPC is loaded when the first connection sends something.

Its library takes 12 MB, which a collector whose clients all use HTTP does not need. gRPC's server
cannot take over a socket, so the connections that are open by then are relayed to a second one on
the loopback address. That one soon tells its clients to connect again, and they reach the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from sidelight.base.budget import Budget
from sidelight.base.listening import bind, connections, refused
from sidelight.collector.receivers.common.type import Load, ReceiverContext
from sidelight.collector.receivers.otlp_grpc.config import SECTION, OtlpGrpc, handshake_seconds
from sidelight.collector.receivers.otlp_grpc.early import EarlyConnections
from sidelight.collector.receivers.otlp_grpc.tls import watched_certificate

if TYPE_CHECKING:
    from sidelight.collector.receivers.otlp_grpc.server import OtlpGrpcServer

_logger = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 1024
# How long an early connection is used. Its calls under way may end.
_EARLY_SECONDS: Final = 1.0
# An early connection is three files: the client's, and both ends of the relay's.
_FILES_OF_EARLY: Final = 3
_LISTEN_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 10


class OtlpGrpcReceiver:
    """Listens for OTLP/gRPC. Raises `ConfigError` for certificates that cannot be used."""

    def __init__(self, config: OtlpGrpc, context: ReceiverContext) -> None:
        self._config = config
        self._context = context
        tls = config.tls
        # Read now, so that a fault ends the start, and files that break later change nothing.
        self._certificate = None if tls is None else watched_certificate(tls, SECTION)
        # At least one message of the largest size must fit.
        max_buffered_bytes = max(config.max_buffered_bytes, config.max_message_bytes)
        self._budget = Budget(max_buffered_bytes, context.memory)
        self._max_connections = connections(MAX_CONNECTIONS, SECTION)
        self._max_early = max(1, self._max_connections // _FILES_OF_EARLY)
        self._early = EarlyConnections(
            self._early_port,
            max_connections=self._max_early,
            silent_seconds=handshake_seconds(config),
        )
        self._port = 0
        self._is_stopping = False
        self._loading: asyncio.Task[int] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._servers: list[OtlpGrpcServer] = []

    async def start(self) -> str:
        """Listen. Raises `ServiceError` if the address is not available."""
        host = self._config.host
        self._port = await bind(self._listen, host, self._config.port, SECTION)
        return f"{host}:{self._port}"

    async def _listen(self, host: str, port: int) -> int:
        return await self._early.listen(host, port, reuse_port=self._context.shares_port)

    def prepare(self, config: OtlpGrpc) -> Callable[[], None]:  # noqa: ARG002 (no live keys)
        """Nothing changes without a restart."""
        return lambda: None

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no new calls, and let those under way finish."""
        self._is_stopping = True
        self._early.close()
        tasks = [task for task in (self._loading, self._serving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await asyncio.gather(*(server.stop(timeout_seconds) for server in self._servers))
        finally:
            await self._early.stop()

    def source(self) -> None:
        """No metrics besides the collector's own."""
        return

    def load(self) -> Load:
        """Bytes of requests under way. gRPC does not report its connections."""
        return Load(self._budget.used)

    async def _early_port(self) -> int:
        """The port of the server for early connections, which the first of them starts."""
        if self._is_stopping:
            raise ConnectionError
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> int:
        try:
            began = monotonic()
            # In a thread, so that other requests have their turns meanwhile.
            server_type = await asyncio.to_thread(_server_type)
            make_server = partial(
                server_type, self._config, budget=self._budget, certificate=self._certificate
            )
            early = make_server(
                replace(self._context, shares_port=False),
                max_connections=self._max_early,
                max_connection_seconds=_EARLY_SECONDS,
            )
            server = make_server(self._context, max_connections=self._max_connections)
            self._servers = [early, server]
            port = await early.listen(["127.0.0.1"], 0)
        except Exception:
            _logger.exception(
                "cannot load gRPC, its clients are refused; trying again after %d s. If it cannot "
                "be imported: pip install --force-reinstall grpcio, and restart Sidelight",
                _RETRY_SECONDS,
            )
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._forget_failure)
            raise ConnectionError from None
        self._serving = asyncio.create_task(self._serve(server, early))
        _logger.info("first OTLP/gRPC connection: loaded gRPC in %.2f s", monotonic() - began)
        return port

    def _forget_failure(self) -> None:
        self._loading = None

    async def _serve(self, server: OtlpGrpcServer, early: OtlpGrpcServer) -> None:
        """Let gRPC listen on the port, then wait for the end of the early connections."""
        addresses = self._early.addresses
        if not self._context.shares_port:
            self._early.hand_over()
        try:
            await self._take_port(server, addresses)
        except Exception:
            _logger.exception("OTLP/gRPC does not listen any more: restart Sidelight")
            return
        self._early.hand_over()
        await self._early.wait_closed()
        await early.stop(0)
        self._servers.remove(early)

    async def _take_port(self, server: OtlpGrpcServer, addresses: list[str]) -> None:
        host, port = self._config.host, self._port
        is_lost = False
        while True:
            try:
                await server.listen(addresses, port)
            except OSError as error:
                # Another process was quicker than gRPC.
                if not is_lost:
                    _logger.error("%s; trying again", refused(error, host, port, SECTION))
                is_lost = True
                await asyncio.sleep(_LISTEN_SECONDS)
            else:
                break
        if is_lost:
            _logger.info("OTLP/gRPC listens on %s:%d again", host, port)


def _server_type() -> type[OtlpGrpcServer]:
    from sidelight.collector.receivers.otlp_grpc.server import OtlpGrpcServer

    return OtlpGrpcServer
