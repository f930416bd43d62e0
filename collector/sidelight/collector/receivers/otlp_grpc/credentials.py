"""gRPC's own credentials of the port, which follow changes of the certificate."""

from __future__ import annotations

from typing import Any

import grpc

from sidelight.base.tls.watched import Watched
from sidelight.collector.receivers.otlp_grpc.tls import ServerCertificate


def credentials_of(watched: Watched[ServerCertificate]) -> grpc.ServerCredentials:
    """Credentials for TLS 1.2 and above. gRPC fetches the certificate for each handshake."""
    current = watched.current()

    def renewed() -> Any:
        # None means unchanged. gRPC calls this from one thread at a time.
        nonlocal current
        last, current = current, watched.current()
        return None if current is last else _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(current),
        renewed,
        require_client_authentication=current.client_ca is not None,
    )


def _configuration(current: ServerCertificate) -> Any:
    pair = current.key, current.certificate
    return grpc.ssl_server_certificate_configuration([pair], current.client_ca)
