"""Who may come in where: what the configuration says of tokens, keys and certificates."""

from __future__ import annotations

import logging
import ssl

from sidelight import conventions as c
from sidelight.base.auth.guard import Guard
from sidelight.base.http_server import Admit, HandshakeFault, Head, HttpResponse, TlsOptions
from sidelight.base.listening import is_loopback
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import context_of
from sidelight.collector.app.configuration.serve import Serve
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.admission import (
    AUTHORIZATION,
    WHY,
    Admission,
    NotAdmittedError,
)
from sidelight.collector.receivers.otlp_grpc.config import OtlpGrpc
from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from sidelight.collector.receivers.registry import Receive

_logger = logging.getLogger(__name__)
_GUARDED_PATH = "/metrics"


class Access:
    """The doors of all listeners.

    Raises `ConfigError` for tokens and certificates that cannot be used, here and in its
    methods.
    """

    def __init__(self, receive: Receive, serve: Serve, registry: Registry) -> None:
        self._receive = receive
        self._serve = serve
        self._unauthorized = registry.counter(c.COLLECTOR_UNAUTHORIZED, ("protocol", "reason"))
        self._failed = registry.counter(c.COLLECTOR_HANDSHAKES_FAILED, ("listener", "reason"))
        self.admission = Admission(
            Guard(receive.tokens, "receive.tokens", receive.langfuse.keys), self._unauthorized
        )
        self._scrapers = Admission(Guard(serve.tokens, "serve.tokens"), self._unauthorized)

    def otlp_http_tls(self) -> TlsOptions | None:
        """Of the OTLP/HTTP port; its client CA, if there is one, is for everybody."""
        section = self._receive.otlp_http
        return self._tls(section.tls if section.enabled else None, "receive.otlp_http")

    def serve_tls(self) -> TlsOptions | None:
        """Of the port of /metrics; probes need no client certificate."""
        return self._tls(self._serve.tls, "serve", certificate_wanted=ssl.CERT_OPTIONAL)

    def _tls(
        self,
        tls: Tls | None,
        section: str,
        *,
        certificate_wanted: ssl.VerifyMode = ssl.CERT_REQUIRED,
    ) -> TlsOptions | None:
        if tls is None:
            return None

        def failed(fault: HandshakeFault) -> None:
            self._failed.labels(section, fault).inc()

        context = context_of(tls, section, certificate_wanted=certificate_wanted)
        return TlsOptions(context, tls.handshake_timeout_seconds, failed)

    def serve_admit(self) -> Admit | None:
        """Asks who wants /metrics; /healthz and /readyz are for everybody."""
        wants_certificate = self._serve.tls is not None and self._serve.tls.client_ca is not None
        if self._scrapers.is_open and not wants_certificate:
            return None

        def ask(head: Head) -> HttpResponse | None:
            if head.path != _GUARDED_PATH:
                return None
            if wants_certificate and not head.is_certified:
                self._unauthorized.labels("metrics", "certificate").inc()
                return _refusal(403, WHY["certificate"])
            try:
                self._scrapers.identify("metrics", head.headers.get(AUTHORIZATION))
            except NotAdmittedError as error:
                challenge = {"WWW-Authenticate": 'Bearer realm="sidelight"'}
                return _refusal(401, str(error), challenge)
            return None

        return ask

    def warn_of_open_doors(self) -> None:
        """Say which receivers other machines reach without proving who they are.

        They are not refused: in a cluster a network policy may be what guards them.
        """
        receive = self._receive
        sections: tuple[tuple[str, OtlpHttp | OtlpGrpc], ...] = (
            ("receive.otlp_http", receive.otlp_http),
            ("receive.otlp_grpc", receive.otlp_grpc),
        )
        for name, section in sections:
            if not section.enabled or is_loopback(section.host):
                continue
            if self.admission.is_open and (section.tls is None or section.tls.client_ca is None):
                _logger.warning(
                    "%s listens on %s and takes data from everybody who reaches it: "
                    "set receive.tokens or %s.tls.client_ca, or listen on 127.0.0.1",
                    name,
                    section.host,
                    name,
                )
            elif section.tls is None:
                _logger.warning(
                    "%s listens on %s without TLS: tokens can be read on their way; set %s.tls",
                    name,
                    section.host,
                    name,
                )


def _refusal(code: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, f"{message}\n".encode(), {"Content-Type": "text/plain", **(headers or {})}
    )
