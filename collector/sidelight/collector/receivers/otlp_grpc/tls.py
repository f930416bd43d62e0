"""TLS of the gRPC port: certificates in gRPC's own terms, followed when their files change."""

from __future__ import annotations

import ssl
from typing import Any

import grpc

from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import files, make_context
from sidelight.base.tls.watched import Watched


def credentials_of(tls: Tls, section: str) -> grpc.ServerCredentials:
    """TLS 1.2 or above, as gRPC has it; gRPC asks for the certificate at each handshake.

    Raises `ConfigError` naming key and file.
    """
    watched = Watched(files(tls), lambda: _configuration(tls, section))
    given = watched.current()

    def renewed() -> Any:
        # None leaves what gRPC has. Its threads ask one at a time.
        nonlocal given
        last, given = given, watched.current()
        return None if given is last else given

    return grpc.dynamic_ssl_server_credentials(
        given, renewed, require_client_authentication=tls.client_ca is not None
    )


def _configuration(tls: Tls, section: str) -> Any:
    # gRPC itself says of broken files no more than that they are.
    make_context(tls, section, ssl.CERT_REQUIRED)
    try:
        ca = None if tls.client_ca is None else tls.client_ca.read_bytes()
        pair = tls.key.read_bytes(), tls.certificate.read_bytes()
    except OSError as error:
        raise ConfigError(f"{section}.tls: {error.filename}: {error.strerror}") from None
    return grpc.ssl_server_certificate_configuration([pair], ca)
