"""Access control: which senders may send, and which clients may read /metrics."""

from __future__ import annotations

import logging
import ssl

from sidelight import conventions as c
from sidelight.base.auth.guard import CredentialSource, Guard, Identity, token_source
from sidelight.base.http_server import Admit, HandshakeFault, Head, HttpResponse, TlsOptions
from sidelight.base.listening import is_loopback
from sidelight.base.tls.options import tls_options
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.serve import Serve
from sidelight.collector.app.listeners import receiver_listeners
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.admission import (
    AUTHORIZATION,
    WHY,
    Admission,
    NotAdmittedError,
)
from sidelight.collector.receivers.registry import enabled

_logger = logging.getLogger(__name__)
# Metrics show names of services, models and collections; probes show no data.
_GUARDED_PATH = "/metrics"


def has_credentials(config: Config) -> bool:
    """Whether senders must show credentials. Reads no secret."""
    return any(source is not None for source in _sender_credentials(config))


def sender_guard(config: Config) -> Guard:
    """The guard of all receivers: the tokens in `auth`, and the receivers' own credentials.

    Raises `ConfigError` for credentials that cannot be read.
    """
    return Guard(_sender_credentials(config))


def _sender_credentials(config: Config) -> list[CredentialSource | None]:
    return [
        token_source(config.auth.tokens, "auth.tokens"),
        *(receiver.credentials(section) for receiver, section in enabled(config.receivers)),
    ]


class AccessMetrics:
    """Counts refused senders and failed handshakes."""

    def __init__(self, registry: Registry) -> None:
        self.unauthorized = registry.counter(c.COLLECTOR_UNAUTHORIZED, ("protocol", "reason"))
        self._failed = registry.counter(c.COLLECTOR_HANDSHAKES_FAILED, ("listener", "reason"))

    def failed_handshake(self, listener: str, fault: HandshakeFault) -> None:
        """A TLS handshake with the listener at this key failed."""
        self._failed.labels(listener, fault).inc()


class ServeAccess:
    """Access to /metrics. /healthz and /readyz need no credentials: kubelets have none.

    Only the report on /readyz does.

    Creating it and `tls` raise `ConfigError` for tokens and certificates that cannot be used.
    """

    def __init__(self, serve: Serve, metrics: AccessMetrics) -> None:
        self._serve = serve
        self._metrics = metrics
        guard = Guard([token_source(serve.tokens, "serve.tokens")])
        self._guard = guard
        self._readers = Admission(guard, metrics.unauthorized)

    def tls(self) -> TlsOptions | None:
        """TLS of the port. A client certificate is optional, so that probes can connect."""
        return tls_options(
            self._serve.tls,
            "serve",
            self._metrics.failed_handshake,
            client_certificate=ssl.CERT_OPTIONAL,
        )

    def is_reader(self, authorization: str | None) -> bool:
        """Whether the header has one of the configured tokens; without any nobody has."""
        return not self._guard.is_open and isinstance(self._guard.identify(authorization), Identity)

    def admit(self) -> Admit | None:
        """Requires a token or a certificate for /metrics; None if neither is configured."""
        tls = self._serve.tls
        needs_certificate = tls is not None and tls.client_ca is not None
        if self._readers.is_open and not needs_certificate:
            return None

        def ask(head: Head) -> HttpResponse | None:
            if head.path != _GUARDED_PATH:
                return None
            if needs_certificate and not head.is_certified:
                self._metrics.unauthorized.labels("metrics", "certificate").inc()
                return _refusal(403, WHY["certificate"])
            try:
                self._readers.identify("metrics", head.headers.get(AUTHORIZATION))
            except NotAdmittedError as error:
                challenge = {"WWW-Authenticate": 'Bearer realm="sidelight"'}
                return _refusal(401, str(error), challenge)
            return None

        return ask


def warn_of_open_listeners(config: Config, *, has_credentials: bool) -> None:
    """Warn about receivers that other machines reach without credentials or without TLS.

    This is not an error: in a cluster a network policy may protect them.
    """
    for listener in receiver_listeners(config):
        if is_loopback(listener.host):
            continue
        if not has_credentials and not listener.asks_for_certificate:
            _logger.warning(
                "%s listens on %s and accepts data from every sender that reaches it: "
                "set auth.tokens or %s.tls.client_ca, or listen on 127.0.0.1",
                listener.key,
                listener.host,
                listener.key,
            )
        elif listener.tls is None:
            _logger.warning(
                "%s listens on %s without TLS, which shows tokens to the network: set %s.tls",
                listener.key,
                listener.host,
                listener.key,
            )


def _refusal(code: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, f"{message}\n".encode(), {"Content-Type": "text/plain", **(headers or {})}
    )
