"""TLS of the gRPC port: gRPC's own credentials, which follow changes of the files."""

from __future__ import annotations

import ssl
from typing import Any

import grpc

from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import files, make_context
from sidelight.base.tls.watched import Watched


def credentials_of(tls: Tls, section: str) -> grpc.ServerCredentials:
    """Credentials for TLS 1.2 and above. gRPC fetches the certificate for each handshake.

    Raises `ConfigError` naming key and file.
    """
    watched = Watched(files(tls), lambda: _configuration(tls, section))
    current = watched.current()

    def renewed() -> Any:
        # None means unchanged. gRPC calls this from one thread at a time.
        nonlocal current
        last, current = current, watched.current()
        return None if current is last else current

    return grpc.dynamic_ssl_server_credentials(
        current, renewed, require_client_authentication=tls.client_ca is not None
    )


def _configuration(tls: Tls, section: str) -> Any:
    # gRPC does not say what is wrong with a file, so the files are checked first.
    make_context(tls, section, ssl.CERT_REQUIRED)
    try:
        ca = None if tls.client_ca is None else tls.client_ca.read_bytes()
        pair = tls.key.read_bytes(), tls.certificate.read_bytes()
    except OSError as error:
        raise ConfigError(f"{section}.tls: {error.filename}: {error.strerror}") from None
    return grpc.ssl_server_certificate_configuration([pair], ca)
