"""Posts OTLP over HTTP as OpenTelemetry's standard variables say, and reports the outcome.

It reads `OTEL_EXPORTER_OTLP_{ENDPOINT,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE,CLIENT_KEY,
CLIENT_CERTIFICATE}` and their forms for one signal (`OTEL_EXPORTER_OTLP_TRACES_…`). The
default endpoint is the collector on this machine. Nothing is logged here.

`http.client` is enough for one connection and one thread. An HTTP library would be one more
dependency in the observed process, at a version that the process may not want.
"""

from __future__ import annotations

import http
import http.client
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from sidelight.instrumentation.vllm.environment import DEFAULT_ENDPOINT

DEFAULT_TIMEOUT_SECONDS: Final = 10.0
# Answers are short, and only their status is used.
MAX_ANSWER_BYTES: Final = 64 * 1024
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_RETRY_AFTER_SECONDS: Final = 300.0
_TARGET: Final = re.compile(r"[!-~]*")
# RFC 9110, 5.1 and 5.5: what http.client would refuse at every send, quoting it.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")


class InvalidVariableError(ValueError):
    """A variable cannot be used. The message names it, and quotes nothing of its value."""


@dataclass(frozen=True, slots=True)
class PostOutcome:
    """The outcome of one post. `transient` means: retry later.

    `status` is that of the answer, or 0 without one. `reason` is for log lines.
    """

    accepted: bool
    transient: bool = False
    retry_after_seconds: float = 0.0
    status: int = 0
    reason: str = ""


class OtlpHttpClient:
    """One endpoint and one connection, which is kept open. Not thread-safe."""

    def __init__(self, signal: str, environ: Mapping[str, str]) -> None:
        """`signal` is `traces` or `metrics`.

        Raises `InvalidVariableError` if the endpoint is not a URL, HTTP does not allow a header,
        or a certificate or key cannot be read.
        """

        def variable(name: str) -> str:
            specific = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}"
            return specific if environ.get(specific, "").strip() else f"OTEL_EXPORTER_OTLP_{name}"

        def read(name: str) -> str:
            return environ.get(variable(name), "").strip()

        url = read("ENDPOINT") or DEFAULT_ENDPOINT
        if variable("ENDPOINT") == "OTEL_EXPORTER_OTLP_ENDPOINT":
            url = f"{url.rstrip('/')}/v1/{signal}"
        parts, self._port = _split(url, variable("ENDPOINT"))
        self._host = parts.hostname or ""
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # For log lines: any other part of the URL may hold a key.
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._gzip = read("COMPRESSION").lower() == "gzip"
        self._timeout = _seconds(read("TIMEOUT"))
        self._headers = {
            "Content-Type": "application/x-protobuf",
            **_headers(read("HEADERS"), variable("HEADERS")),
        }
        if self._gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = _tls_context(read, variable)
        self._connection: http.client.HTTPConnection | None = None

    def post(self, payload: bytes) -> PostOutcome:
        """Send one request. Never raises. Each step of it blocks for at most the timeout."""
        body = _compressed(payload) if self._gzip else payload
        kept = self._connection is not None
        try:
            try:
                response = self._ask(body)
            except (http.client.HTTPException, ConnectionError):
                # The other side may have closed the kept connection since the last request.
                if not kept:
                    raise
                self.close()
                response = self._ask(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return PostOutcome(False, transient=True, reason=_reason(error))
        if 200 <= response.status < 300:
            return PostOutcome(True, status=response.status)
        return PostOutcome(
            False,
            transient=response.status in _TRANSIENT,
            retry_after_seconds=_retry_after(response.getheader("Retry-After")),
            status=response.status,
            reason=_status_text(response.status),
        )

    def close(self) -> None:
        """Close the connection. The next post opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, body: bytes) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = (
                http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
                if self._tls is None
                else http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=self._tls
                )
            )
        self._connection.request("POST", self.path, body, self._headers)
        response = self._connection.getresponse()
        if not _read_to_end(response, time.monotonic() + self._timeout):
            self.close()
            response.close()
        return response


def _read_to_end(response: http.client.HTTPResponse, until: float) -> bool:
    """Whether the answer ended within `MAX_ANSWER_BYTES` and before `until` (monotonic seconds).

    A connection can be used again only after the end of an answer. The status is known at this
    point, so a broken answer does not mean that the request must be sent again.
    """
    length, read = response.length, 0
    if length is not None and length > MAX_ANSWER_BYTES:
        return False
    limit = MAX_ANSWER_BYTES if length is None else length
    try:
        while time.monotonic() < until:
            # `read` would wait for all it was asked for; `read1` takes what has come. Before
            # Python 3.13 it does not notice that it has reached `Content-Length`.
            piece = response.read1(limit - read) if read < limit else b""
            read += len(piece)
            if read == length:
                response.close()
                return True
            if not piece:
                return length is None and response.isclosed()
    except (OSError, http.client.HTTPException):
        pass
    return False


def _reason(error: Exception) -> str:
    # The message of an error may quote a header or the path. The system's own text does not.
    text = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _status_text(status: int) -> str:
    # The phrase of the answer is the backend's, and may quote what it was sent.
    try:
        return f"HTTP {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _tls_context(read: Callable[[str], str], variable: Callable[[str], str]) -> ssl.SSLContext:
    """How the endpoint is trusted, and how it can trust us."""
    name = "CERTIFICATE"
    try:
        context = ssl.create_default_context(cafile=read(name) or None)
        name = "CLIENT_CERTIFICATE"
        if read(name):
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(read(name), read("CLIENT_KEY") or None, password="")
    except (OSError, ValueError) as error:
        raise InvalidVariableError(f"{variable(name)} cannot be used ({_reason(error)})") from None
    return context


def _split(url: str, variable: str) -> tuple[SplitResult, int | None]:
    """The parts of `url` and its port, if it has one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Python's own message quotes the URL, which may hold a password.
        parts, port = urlsplit(""), None
    is_sendable = _TARGET.fullmatch(parts.path + parts.query)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_sendable:
        raise InvalidVariableError(
            f"{variable} is not an http or https URL, such as {DEFAULT_ENDPOINT}"
        )
    return parts, port


def _headers(text: str, variable: str) -> dict[str, str]:
    """Comma-separated `key=value` pairs, percent-encoded as in W3C baggage."""
    pairs = (pair.partition("=") for pair in text.split(","))
    headers = {
        unquote(key).strip(): unquote(value).strip() for key, equals, value in pairs if equals
    }
    for number, (key, value) in enumerate(headers.items(), 1):
        if not _HEADER_NAME.fullmatch(key) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidVariableError(
                f"{variable}: header {number} has characters that HTTP does not allow; write "
                "comma-separated key=value pairs, percent-encoded"
            )
    return headers


def _seconds(text: str) -> float:
    # The specification says milliseconds, but OpenTelemetry's Python exporter reads seconds,
    # and that is what users of vLLM are used to.
    try:
        value = float(text)
    except ValueError:
        return DEFAULT_TIMEOUT_SECONDS
    return value if 0 < value < 3600 else DEFAULT_TIMEOUT_SECONDS


def _retry_after(header: str | None) -> float:
    try:
        return min(max(float(header or 0), 0.0), _MAX_RETRY_AFTER_SECONDS)
    except ValueError:
        return 0.0


def make_client(signal: str, environ: Mapping[str, str]) -> OtlpHttpClient | None:
    """The client that sends `traces` or `metrics`; None if `OTEL_…_EXPORTER` is `none`."""
    if environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
        return None
    return OtlpHttpClient(signal, environ)


def _compressed(payload: bytes) -> bytes:
    # Not at the top: an API server reads the variables only, and few send compressed.
    import gzip

    return gzip.compress(payload, 1)
