"""HTTP to one backend: kept connections, one total deadline, small answers, no redirects."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from importlib.metadata import version
from urllib.parse import quote, urlsplit

from sidelight.base.http_client import deadline
from sidelight.base.http_client.answer import Answer, NotHttpError
from sidelight.base.http_client.connection import Connection
from sidelight.base.http_client.failure import NoAnswerError

__all__ = ["MAX_ANSWER_BYTES", "Answer", "NoAnswerError", "Transport"]

MAX_ANSWER_BYTES = 64 * 1024
_USER_AGENT = f"sidelight/{version('sidelight')}"
_PORTS = {"http": 80, "https": 443}
# In a path; the percent sign because what is encoded already stays so.
_SAFE = "/%:@!$&'()*+,;=~-._"


class Transport:
    """Requests to one base URL, from any thread. Credentials never leave that host and port."""

    def __init__(
        self, url: str, timeout_seconds: float, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self.url = url
        self.timeout_seconds = timeout_seconds
        self.max_answer_bytes = max_answer_bytes
        parts = urlsplit(url)
        self._host = _ascii(parts.hostname or "")
        self._port = parts.port or _PORTS[parts.scheme]
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self._place = f"{shown}:{self._port}"
        is_usual = self._port == _PORTS[parts.scheme]
        self._prefix = quote(parts.path.rstrip("/"), safe=_SAFE)
        self._lines = (
            f" HTTP/1.1\r\nHost: {shown if is_usual else self._place}\r\n"
            f"User-Agent: {_USER_AGENT}\r\nAccept-Encoding: identity\r\n"
        )
        self._context: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        self._idle: list[Connection] = []
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
            exchanges, idle = tuple(self._exchanges), self._idle
            self._idle = []
        for exchange in exchanges:
            exchange.abandon()
        for connection in idle:
            connection.close()

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
        except (OSError, NotHttpError) as error:
            is_timeout = isinstance(error, TimeoutError) and not self._closed
            raise NoAnswerError(self._explain(error), is_timeout=is_timeout) from error
        finally:
            with self._lock:
                self._exchanges.discard(exchange)

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        head = self._head(method, path, headers, body)
        connection = self._connection()
        try:
            answer = connection.exchange(head, body, self.max_answer_bytes)
        finally:
            self._put_back(connection)
        return answer

    def _head(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        own = {} if body is None else {"Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in (*headers.items(), *own.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header holds a line break")
        target = self._prefix + path or "/"
        fields = "".join(f"{line}\r\n" for line in lines)
        return f"{method} {target}{self._lines}{fields}\r\n".encode("latin-1")

    def _connection(self) -> Connection:
        """The one used last, which is the likeliest to be alive, or a new one."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return Connection(self._host, self._port, self._context)
            if not connection.is_dropped():
                return connection
            connection.close()

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            if connection.is_reusable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _explain(self, error: BaseException) -> str:
        if self._closed:
            return f"{self.url}: given up, the destination is being closed"
        match error:
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
                    f"its TLS certificate is not trusted ({error.verify_message}); "
                    "name the file of its CA in SSL_CERT_FILE"
                )
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
                what = "it does not speak TLS; write http:// in the url, or correct the port"
            case ssl.SSLError():
                reason = str(error.reason or "handshake failed").replace("_", " ").lower()
                what = f"TLS failed: {reason}"
            case ConnectionError():
                what = "it closed the connection before it answered"
            case NotHttpError():
                what = (
                    "it does not answer as HTTP/1.1; if this is an OTLP/gRPC port (4317), "
                    "name the HTTP one (4318)"
                )
            case OSError(strerror=str(text)):
                what = f"{self._place} cannot be reached: {text.lower()}"
            case _:
                what = f"the exchange failed: {type(error).__name__}"
        return f"{self.url}: {what}"


def _ascii(host: str) -> str:
    """A host as the DNS and headers have it."""
    return host if host.isascii() else host.encode("idna").decode()
