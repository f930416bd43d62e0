"""Explains why a request got no answer: one sentence with the cause and what to do."""

from __future__ import annotations

import ssl
from socket import gaierror
from typing import Literal

from sidelight.base.http_client.answer import NotHttpError
from sidelight.base.http_client.proxy import Proxy, ProxySettingError
from sidelight.base.tls.client import TlsFileError

# OpenSSL's X509_V_ERR_… (openssl/x509_vfy.h)
_CERTIFICATE_EXPIRED = 10
_HOSTNAME_MISMATCH = (62, 64)


Cause = Literal[
    "timeout", "dns", "refused", "tls", "proxy", "reset", "not_http", "closing", "other"
]
"""Why there was no answer, in one word. Only `timeout`, `reset` and `not_http` can come after the
request was sent."""


class NoAnswerError(Exception):
    """The backend did not answer. The message is one sentence with the cause and what to do."""

    def __init__(self, message: str, *, cause: Cause = "other") -> None:
        super().__init__(message)
        self.cause: Cause = cause

    @property
    def is_timeout(self) -> bool:
        """Whether the answer did not arrive in time."""
        return self.cause == "timeout"


class ProxyAnswerError(OSError):
    """The proxy did not open a tunnel to the backend, but answered `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status


def cause_of(error: BaseException) -> Cause:
    """What went wrong in an exchange, in one word."""
    match error:
        case TimeoutError():
            return "timeout"
        case gaierror():
            return "dns"
        case ConnectionRefusedError():
            return "refused"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "reset"
        case ssl.SSLError() | TlsFileError():
            return "tls"
        case ProxyAnswerError() | ProxySettingError():
            return "proxy"
        case ConnectionError():
            return "reset"
        case NotHttpError():
            return "not_http"
        case _:
            return "other"


def explain(
    error: BaseException, *, place: str, proxy: Proxy | None, timeout_seconds: float
) -> str:
    """What went wrong in an exchange with the backend at `place` (host and port)."""
    # With a proxy, the collector connects to the proxy only.
    peer = place if proxy is None else f"the proxy {proxy.place}"
    match error:
        case TimeoutError():
            return (
                f"no answer within {timeout_seconds:g} s; "
                "check whether it is overloaded, or raise timeout_seconds"
            )
        case gaierror():
            return f"the host of {peer} cannot be found; check {_source(proxy)} and the DNS"
        case ConnectionRefusedError():
            return f"nothing listens on {peer}; start it or correct {_source(proxy)}"
        case ssl.SSLError():
            return _explain_tls(error)
        case ProxyAnswerError(status=status):
            assert proxy is not None
            return _explain_proxy(status, proxy, place)
        case ConnectionError():
            return "the server closed the connection before it answered; look into its log"
        case NotHttpError():
            return (
                "the answer is not HTTP/1.1; if this is an OTLP/gRPC port (4317), "
                "use the HTTP port (4318)"
            )
        case OSError(strerror=str(text)):
            return f"{peer} cannot be reached: {text[:1].lower()}{text[1:]}; check the network"
        case ProxySettingError() | TlsFileError():
            return str(error)
        case _:
            return f"the exchange failed: {type(error).__name__}"


def _source(proxy: Proxy | None) -> str:
    """The setting that names the address."""
    return "the url" if proxy is None else proxy.setting


def _explain_proxy(status: int, proxy: Proxy, place: str) -> str:
    what = f"the proxy {proxy.place} answered {status}"
    if status == 407:
        return (
            f"{what}: it requires credentials; "
            f"set {proxy.setting} to http://user:password@host:port"
        )
    if status == 403:
        return f"{what}: it forbids connections to {place}; allow them in the proxy"
    return f"{what} and did not connect to {place}; check the proxy"


def _explain_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _HOSTNAME_MISMATCH:
            return (
                f"the server's TLS certificate is for another host ({error.verify_message}); "
                "use one of its names in the url"
            )
        if error.verify_code == _CERTIFICATE_EXPIRED:
            return "the server's TLS certificate has expired; renew it"
        return (
            f"the server's TLS certificate is not trusted ({error.verify_message}); "
            "set ca or SSL_CERT_FILE to the file of its CA"
        )
    # OpenSSL's reasons, before and since 3.2, for an answer in plain text.
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "the server does not speak TLS; use http:// in the url, or correct the port"
    if "CERTIFICATE_REQUIRED" in (error.reason or ""):
        return "the server requires a client certificate; set client_certificate"
    reason = str(error.reason or "handshake failed").replace("_", " ").lower()
    return f"TLS failed: {reason}; check the port and the server's TLS settings"
