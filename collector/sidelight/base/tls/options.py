"""TLS of an HTTP listener, from its configuration."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from sidelight.base.http_server import HandshakeFault, TlsOptions
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import context_of


def tls_options(
    tls: Tls | None,
    section: str,
    failed: Callable[[str, HandshakeFault], None],
    *,
    client_certificate: ssl.VerifyMode = ssl.CERT_REQUIRED,
) -> TlsOptions | None:
    """The options of the listener at `section`; None for plain text.

    `failed` is called with the section and the fault of each failed handshake.
    `client_certificate` applies if a client CA is configured. Raises `ConfigError` for
    certificates that cannot be used.
    """
    if tls is None:
        return None
    return TlsOptions(
        context_of(tls, section, client_certificate=client_certificate),
        tls.handshake_timeout_seconds,
        lambda fault: failed(section, fault),
    )
