"""An HTTP/1.1 client for one backend: keep-alive, one total deadline, no redirects."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, urlsplit

from sidelight.base.http_client.answer import Answer, NotHttpError
from sidelight.base.http_client.connect import connect, tunnel
from sidelight.base.http_client.exchange import ClientConnection, Exchange
from sidelight.base.http_client.failure import NoAnswerError, cause_of, explain
from sidelight.base.http_client.origin import Origin
from sidelight.base.http_client.proxy import Proxy, ProxySettingError, proxy_for
from sidelight.base.tls.client import TlsFileError, shared
from sidelight.base.tls.config import ClientCertificate

__all__ = ["MAX_ANSWER_BYTES", "Answer", "HttpClient", "NoAnswerError"]

# Answers to exports are a few bytes; an error page may be large.
MAX_ANSWER_BYTES = 64 * 1024
_USER_AGENT = f"sidelight/{version('sidelight')}"
# Characters that are not encoded in a path. With the percent sign, an encoded path stays as it is.
_SAFE = "/%:@!$&'()*+,;=~-._"


class HttpClient:
    """Sends requests to one base URL, on one event loop.

    It follows no redirects, so credentials only go to the host and port of the URL.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        *,
        proxy: Callable[[], str | None] = lambda: None,
        ca: Path | None = None,
        client_certificate: ClientCertificate | None = None,
    ) -> None:
        """`timeout_seconds` bounds each request as a whole, from looking up the host's name to the
        last byte of the answer. At most `max_answer_bytes` of an answer's body are read. `proxy`
        returns an http:// URL, or None if the environment decides; it may raise
        `ProxySettingError`. `ca`, a PEM file, replaces the system's certificate authorities.
        """
        self.url = url
        self.timeout_seconds = timeout_seconds
        self.max_answer_bytes = max_answer_bytes
        parts = urlsplit(url)
        self._origin = Origin.of(parts)
        self._path = quote(parts.path.rstrip("/"), safe=_SAFE)
        self._proxy_setting = proxy
        self._ca = ca
        self._client_certificate = client_certificate
        self._lines = (
            f" HTTP/1.1\r\nHost: {self._origin.authority}\r\n"
            f"User-Agent: {_USER_AGENT}\r\nAccept-Encoding: identity\r\n"
        )
        self._idle: list[ClientConnection] = []
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_closed = False

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET below the base URL. Raises `NoAnswerError`."""
        return await self._request("GET", path, headers or {}, None)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST below the base URL. Raises `NoAnswerError`."""
        return await self._request("POST", path, headers, body)

    async def put(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """PUT below the base URL. Raises `NoAnswerError`."""
        return await self._request("PUT", path, headers, body)

    async def patch(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """PATCH below the base URL. Raises `NoAnswerError`."""
        return await self._request("PATCH", path, headers, body)

    def close(self) -> None:
        """Close the connections. Requests under way and later ones fail at once."""
        self._is_closed = True
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0.0)
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        if self._is_closed:
            raise NoAnswerError(
                f"{self.url}: not sent, the destination is closing", cause="closing"
            )
        proxy: Proxy | None = None
        deadline = asyncio.timeout(self.timeout_seconds)
        exchange: Exchange | None = None
        failure: Exception | None = None
        self._deadlines.add(deadline)
        try:
            proxy = self._proxy
            head = self._head(method, path, headers, body, proxy)
            exchange = Exchange(head, body, self.max_answer_bytes)
            async with deadline:
                await self._run(exchange, proxy, deadline)
        except (OSError, NotHttpError, ProxySettingError, TlsFileError) as error:
            # A fault after the backend's answer does not change the answer.
            if exchange is None or not exchange.has_answer:
                raise self._no_answer(error, proxy) from error
            failure = error
        finally:
            self._deadlines.discard(deadline)
        return exchange.answer(failure)

    @cached_property
    def _proxy(self) -> Proxy | None:
        # Not in __init__: a wrong variable must fail requests, which are retried, not the start.
        return proxy_for(self.url, os.environ, self._proxy_setting())

    async def _run(
        self, exchange: Exchange, proxy: Proxy | None, deadline: asyncio.Timeout
    ) -> None:
        connection = self._reusable() or await self._open(proxy, deadline)
        is_reused = connection.is_used
        try:
            await connection.run(exchange)
        except ConnectionError:
            # The backend may have closed an idle connection just when it was used again. If the
            # answer has begun, the request has arrived, and sending it again would repeat it.
            if not is_reused or exchange.reader.has_begun:
                raise
            exchange.restart()
            connection = await self._open(proxy, deadline)
            await connection.run(exchange)
        if connection.is_open and not self._is_closed:
            self._idle.append(connection)

    def _reusable(self) -> ClientConnection | None:
        """The idle connection used last, which is the most likely to be alive."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_dropped():
                return connection
            connection.abort()
        return None

    async def _open(self, proxy: Proxy | None, deadline: asyncio.Timeout) -> ClientConnection:
        origin = self._origin
        context = None
        if origin.is_tls:
            context = await shared.get(self._ca, self._client_certificate)
        first_hop = origin if proxy is None else proxy.origin
        ends_at = deadline.when()
        assert ends_at is not None
        sock = await connect(first_hop.host, first_hop.port, ends_at)
        try:
            if proxy is not None and origin.is_tls:
                await tunnel(sock, proxy, origin)
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: ClientConnection(sock),
                sock=sock,
                ssl=context,
                server_hostname=origin.host if origin.is_tls else None,
                # asyncio's own limit is 60 s; the deadline of the request is to end it first.
                ssl_handshake_timeout=self.timeout_seconds + 1 if origin.is_tls else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def _head(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        proxy: Proxy | None,
    ) -> bytes:
        own = {} if body is None else {"Content-Length": str(len(body))}
        target = self._path + path or "/"
        if proxy is not None and not self._origin.is_tls:
            target = f"http://{self._origin.authority}{target}"
            if proxy.authorization is not None:
                own["Proxy-Authorization"] = proxy.authorization
        lines = [f"{name}: {value}" for name, value in (*headers.items(), *own.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header holds a line break")
        fields = "".join(f"{line}\r\n" for line in lines)
        return f"{method} {target}{self._lines}{fields}\r\n".encode("latin-1")

    def _no_answer(self, error: Exception, proxy: Proxy | None) -> NoAnswerError:
        if self._is_closed:
            return NoAnswerError(
                f"{self.url}: given up, the destination is closing", cause="closing"
            )
        reason = explain(
            error,
            place=self._origin.place,
            proxy=proxy,
            timeout_seconds=self.timeout_seconds,
        )
        return NoAnswerError(f"{self.url}: {reason}", cause=cause_of(error))
