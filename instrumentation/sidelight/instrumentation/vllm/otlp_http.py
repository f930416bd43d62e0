"""Posts OTLP over HTTP as OpenTelemetry's standard variables say, and reports how it went.

`OTEL_EXPORTER_OTLP_{ENDPOINT,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE,CLIENT_KEY,
CLIENT_CERTIFICATE}` and their forms for one signal (`OTEL_EXPORTER_OTLP_TRACES_…`) count.
Without an endpoint the collector on this machine is meant. Nothing is logged here.
"""

from __future__ import annotations

import gzip
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_RETRY_AFTER_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a post went. `reason` says what was wrong, for people."""

    accepted: bool
    transient: bool = False
    retry_after_seconds: float = 0.0
    reason: str = ""


class OtlpHttp:
    """One endpoint with one kept connection; for one thread."""

    def __init__(self, signal: str, environ: Mapping[str, str]) -> None:
        """`signal` is `traces` or `metrics`. Raises `ValueError` for an endpoint that is no URL."""

        def read(name: str) -> str:
            specific = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
            return specific or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()

        own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
        base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or DEFAULT_ENDPOINT
        self.url = own or f"{base.rstrip('/')}/v1/{signal}"
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"OTLP endpoint {self.url!r} is not an http or https URL")
        self._host, self._port = parts.hostname, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._gzip = read("COMPRESSION").lower() == "gzip"
        self._timeout = _seconds(read("TIMEOUT"))
        self._headers = {"Content-Type": "application/x-protobuf", **_headers(read("HEADERS"))}
        if self._gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=read("CERTIFICATE") or None)
            if read("CLIENT_CERTIFICATE"):
                self._tls.load_cert_chain(read("CLIENT_CERTIFICATE"), read("CLIENT_KEY") or None)
        self._connection: http.client.HTTPConnection | None = None

    def post(self, payload: bytes) -> Outcome:
        """Send one request; never raises. Blocks for at most the timeout at each step of it."""
        body = gzip.compress(payload, 1) if self._gzip else payload
        kept = self._connection is not None
        try:
            try:
                response = self._ask(body)
            except (http.client.HTTPException, ConnectionError):
                # A kept connection may have been closed by the other side in the meantime.
                if not kept:
                    raise
                self.close()
                response = self._ask(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return Outcome(False, transient=True, reason=f"{type(error).__name__}: {error}")
        if 200 <= response.status < 300:
            return Outcome(True)
        return Outcome(
            False,
            transient=response.status in _TRANSIENT,
            retry_after_seconds=_retry_after(response.getheader("Retry-After")),
            reason=f"HTTP {response.status} {response.reason}",
        )

    def close(self) -> None:
        """Let go of the connection; the next post makes a new one."""
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
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        response.read()
        return response


def _headers(told: str) -> dict[str, str]:
    """`key=value` pairs with commas between, percent-encoded as in W3C baggage."""
    pairs = (pair.partition("=") for pair in told.split(","))
    return {unquote(key).strip(): unquote(value).strip() for key, equals, value in pairs if equals}


def _seconds(told: str) -> float:
    # The specification says milliseconds, OpenTelemetry's Python exporter reads seconds, and
    # users of vLLM know the latter.
    try:
        value = float(told)
    except ValueError:
        return DEFAULT_TIMEOUT_SECONDS
    return value if 0 < value < 3600 else DEFAULT_TIMEOUT_SECONDS


def _retry_after(told: str | None) -> float:
    try:
        return min(max(float(told or 0), 0.0), _MAX_RETRY_AFTER_SECONDS)
    except ValueError:
        return 0.0
