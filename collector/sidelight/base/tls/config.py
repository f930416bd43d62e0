"""TLS in sidelight.yaml: the section `tls` of a listener, and certificates of clients."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sidelight.base.configuration.section import Section


class Tls(Section):
    """TLS of a listener. Files are PEM; changed files are used for new connections."""

    certificate: Path = Field(description="Server certificate, followed by its chain.")
    key: Path = Field(description="Private key of the certificate.")
    client_ca: Path | None = Field(
        None,
        description="Authorities of client certificates. Clients without a certificate from one "
        "of them are refused.",
    )
    handshake_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="Longest time of a handshake."
    )


class ClientCertificate(Section):
    """A certificate that is shown to servers. Changed files are used for new connections."""

    certificate: Path = Field(description="Client certificate in PEM, followed by its chain.")
    key: Path = Field(description="Private key of the certificate in PEM, without a passphrase.")
