"""The common part of HTTP receivers: limits, TLS, reload, drain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from sidelight.base.budget import Budget
from sidelight.base.http_server import (
    AddHeaders,
    Admit,
    Explain,
    Handler,
    HttpLimits,
    HttpServer,
    Refused,
    in_words,
    unnoticed,
)
from sidelight.base.listening import bind, connections
from sidelight.base.tls.options import tls_options
from sidelight.collector.receivers.common.http_config import HttpListenerConfig
from sidelight.collector.receivers.common.type import Load, ReceiverContext

ConfigT = TypeVar("ConfigT", bound=HttpListenerConfig)


@dataclass(frozen=True, slots=True)
class HttpService:
    """The service of an HTTP receiver.

    `admit` is called before a body is read; None accepts every request. `explain` writes the
    body of the server's own errors; `refused` is told of them. `add_headers` makes headers of every
    answer from those of its request.
    """

    handler: Handler
    admit: Admit | None = None
    explain: Explain = in_words
    refused: Refused = unnoticed
    add_headers: AddHeaders | None = None


class HttpReceiver(Generic[ConfigT]):
    """Listens for HTTP, with the service that `serve` builds from the configuration.

    Raises `ConfigError` for certificates that cannot be used.
    """

    def __init__(
        self,
        config: ConfigT,
        context: ReceiverContext,
        section: str,
        serve: Callable[[ConfigT, ReceiverContext, Budget], HttpService],
    ) -> None:
        """`section` is the receiver's place in the configuration.

        `serve` also gets the receiver's memory, for what it makes of a body.
        """
        self._config = config
        self._context = context
        self._section = section
        self._serve = serve
        # Once: a reload keeps TLS, and certificates are followed by themselves.
        self._tls = tls_options(config.tls, section, context.failed_handshake)
        self._budget = Budget(_max_buffered_bytes(config), context.memory)
        self._server = self._build(config)

    async def start(self) -> str:
        """Listen. Raises `ServiceError` if the address is not available."""
        host = self._config.host
        start = partial(self._server.start, reuse_port=self._context.shares_port)
        port = await bind(start, host, self._config.port, self._section)
        return f"{host}:{port}"

    def prepare(self, config: ConfigT) -> Callable[[], None]:
        """For a reload: a function that applies the new limits. Open connections stay."""
        # Built now, because building can fail and applying must not.
        server = self._build(config) if config != self._config else None

        def apply() -> None:
            if server is not None:
                self._config = config
                self._server.become(server)

        return apply

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no new connections, and let requests under way finish."""
        await self._server.stop(timeout_seconds)

    def source(self) -> None:
        """No metrics besides the collector's own."""
        return

    def load(self) -> Load:
        """Bytes of requests under way, and open connections."""
        return Load(self._budget.used, len(self._server.connections))

    def _build(self, config: ConfigT) -> HttpServer:
        service = self._serve(config, self._context, self._budget)
        return HttpServer(
            service.handler,
            HttpLimits(
                max_body_bytes=config.max_body_bytes,
                max_buffered_bytes=_max_buffered_bytes(config),
                max_connections=connections(config.max_connections, self._section),
                header_timeout_seconds=config.header_timeout_seconds,
                body_timeout_seconds=config.body_timeout_seconds,
                idle_timeout_seconds=config.idle_timeout_seconds,
            ),
            admit=service.admit,
            explain=service.explain,
            refused=service.refused,
            add_headers=service.add_headers,
            tls=self._tls,
            budget=self._budget,
        )


def _max_buffered_bytes(config: HttpListenerConfig) -> int:
    # The largest request, alone, must fit: it would be told to come again for ever.
    return max(config.max_buffered_bytes, config.max_body_bytes + config.max_decompressed_bytes)
