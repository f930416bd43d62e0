"""The certificate of the gRPC port, read before gRPC is loaded and when the files change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import files, make_context
from sidelight.base.tls.watched import Watched


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The content of the files of a `tls` section, in PEM."""

    key: bytes = field(repr=False)
    certificate: bytes
    client_ca: bytes | None


def watched_certificate(tls: Tls, section: str) -> Watched[ServerCertificate]:
    """The current certificate. Raises `ConfigError` naming key and file."""
    return Watched(files(tls), lambda: _read(tls, section))


def _read(tls: Tls, section: str) -> ServerCertificate:
    # gRPC does not say what is wrong with a file, so the files are checked first.
    make_context(tls, section, ssl.CERT_REQUIRED)
    try:
        client_ca = None if tls.client_ca is None else tls.client_ca.read_bytes()
        return ServerCertificate(tls.key.read_bytes(), tls.certificate.read_bytes(), client_ca)
    except OSError as error:
        raise ConfigError(f"{section}.tls: {error.filename}: {error.strerror}") from None
