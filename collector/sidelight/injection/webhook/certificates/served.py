"""The certificate that new connections are shown, wherever it comes from."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import named_context
from sidelight.base.tls.watched import Watched
from sidelight.injection.webhook.certificates.pair import (
    Pair,
    UnusableCertificateError,
    expiry,
    server_context,
)


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """A certificate in use."""

    context: ssl.SSLContext
    expires: datetime

    @property
    def has_expired(self) -> bool:
        """Whether clients refuse it by now."""
        return datetime.now(UTC) >= self.expires


CertificateSource = Callable[[], ServedCertificate | None]
"""Returns the certificate for the next connection; None until there is one."""


class LatestPair:
    """A `CertificateSource` for pairs that are made while the injector runs."""

    def __init__(self) -> None:
        self._served: ServedCertificate | None = None

    def serve(self, pair: Pair) -> None:
        """Use `pair` from now on."""
        self._served = ServedCertificate(server_context(pair), expiry(pair.certificate))

    def current(self) -> ServedCertificate | None:
        """The certificate for the next connection; None until there is one."""
        return self._served


def from_files(certificate: Path, key: Path) -> CertificateSource:
    """The certificate in two files; changed files are used for new connections.

    Raises `ConfigError` naming option and file.
    """
    tls = Tls(certificate=certificate, key=key)

    def read() -> ServedCertificate:
        context = named_context(tls, "--", ssl.CERT_NONE)
        try:
            return ServedCertificate(context, expiry(certificate.read_bytes()))
        except (OSError, UnusableCertificateError):
            # OpenSSL has just read it, so it changes at this moment.
            raise ConfigError(f"--certificate: {certificate} cannot be read") from None

    return Watched([certificate, key], read).current


def context_from(source: CertificateSource) -> Callable[[], ssl.SSLContext]:
    """The context for the next connection. Until there is a certificate, handshakes fail."""
    # Not a certificate that nobody trusts: the failure is counted, and the pod is created at once.
    nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def context() -> ssl.SSLContext:
        served = source()
        return nothing if served is None else served.context

    return context


def expiry_seconds(source: CertificateSource) -> float:
    """When the certificate expires, since the epoch; NaN until there is one."""
    served = source()
    return math.nan if served is None else served.expires.timestamp()
