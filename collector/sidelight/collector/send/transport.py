"""HTTP to one backend: kept connections, one total deadline, small answers, no redirects."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url

from sidelight.collector.send import deadline

MAX_ANSWER_BYTES = 64 * 1024
_USER_AGENT = f"sidelight/{version('sidelight')}"
# The deadline's sockets keep the time; urllib3's own timeouts would only restart it.
_NO_TIMEOUT = urllib3.Timeout(connect=None, read=None)


class NoAnswerError(Exception):
    """No status came back; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend answered; `headers` have lower-case names.

    `body` is what came before the transport's limit, its deadline or a broken connection.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return deadline.connect(self._dns_host, self.port)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return deadline.connect(self._dns_host, self.port)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Transport:
    """Requests to one base URL, from any thread. Credentials never leave that host and port."""

    def __init__(
        self, url: str, timeout_seconds: float, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self.url = url
        self.timeout_seconds = timeout_seconds
        self.max_answer_bytes = max_answer_bytes
        parts = parse_url(url)
        assert parts.host is not None
        self._prefix = (parts.path or "").rstrip("/")
        self._place = f"{parts.host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._pool: urllib3.HTTPConnectionPool
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.sslsocket_class = deadline.TimedTlsSocket
            self._pool = _TlsPool(parts.host, parts.port, ssl_context=context)
        else:
            self._pool = _Pool(parts.host, parts.port)
        self._exchanges: set[deadline.Exchange] = set()
        self._lock = threading.Lock()
        self._closed = False

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET below the base URL. Raises `NoAnswerError`."""
        return self._request("GET", path, headers or {}, None)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST below the base URL. Raises `NoAnswerError`."""
        return self._request("POST", path, headers, body)

    def close(self) -> None:
        """Close the connections; an exchange under way fails at once, and so does any later one."""
        with self._lock:
            self._closed = True
            exchanges = tuple(self._exchanges)
        for exchange in exchanges:
            exchange.abandon()
        self._pool.close()

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        exchange = deadline.Exchange(self.timeout_seconds)
        with self._lock:
            if self._closed:
                raise NoAnswerError(f"{self.url}: not asked, the destination is being closed")
            self._exchanges.add(exchange)
        try:
            with exchange:
                return self._exchange(method, path, headers, body)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise NoAnswerError(self._explain(error)) from error
        finally:
            with self._lock:
                self._exchanges.discard(exchange)

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        response = self._pool.urlopen(
            method,
            self._prefix + path or "/",
            body=body,
            headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers},
            retries=False,
            redirect=False,
            timeout=_NO_TIMEOUT,
            preload_content=False,
            decode_content=False,
        )
        content = b""
        # The status is the backend's word on the batch; the rest of its answer is not.
        with suppress(urllib3.exceptions.HTTPError, http.client.HTTPException, OSError):
            content = response.read(self.max_answer_bytes)
        # A connection whose answer was read to its end is back in the pool by now; this
        # closes any other.
        response.close()
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names, content)

    def _explain(self, error: BaseException) -> str:
        if self._closed:
            return f"{self.url}: given up, the destination is being closed"
        cause = _root(error)
        match cause:
            case TimeoutError():
                what = (
                    f"no answer within {self.timeout_seconds:g} s; "
                    "see whether it is overloaded, or raise timeout_seconds"
                )
            case socket.gaierror():
                what = f"the host of {self._place} cannot be found; check the url and the DNS"
            case ConnectionRefusedError():
                what = f"nothing listens on {self._place}; start it or correct the url"
            case ssl.SSLCertVerificationError():
                what = (
                    f"its TLS certificate is not trusted ({cause.verify_message}); "
                    "name the file of its CA in SSL_CERT_FILE"
                )
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
                what = "it does not speak TLS; write http:// in the url, or correct the port"
            case ssl.SSLError():
                reason = str(cause.reason or "handshake failed").replace("_", " ").lower()
                what = f"TLS failed: {reason}"
            case http.client.RemoteDisconnected() | ConnectionError():
                what = "it closed the connection before it answered"
            case http.client.HTTPException():
                what = (
                    "it does not answer as HTTP/1.1; if this is an OTLP/gRPC port (4317), "
                    "name the HTTP one (4318)"
                )
            case OSError(strerror=str(text)):
                what = f"{self._place} cannot be reached: {text.lower()}"
            case _:
                what = f"the exchange failed: {type(cause).__name__}"
        return f"{self.url}: {what}"


def _root(error: BaseException) -> BaseException:
    """The failure that urllib3 wrapped, itself no wrapper."""
    while not isinstance(error, OSError):
        inner = [each for each in (*error.args, error.__cause__) if isinstance(each, Exception)]
        if not inner:
            break
        error = inner[0]
    return error
