"""TLS of a listener, in sidelight.yaml."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sidelight.base.configuration.section import Section


class Tls(Section):
    """TLS of a listener; the files are PEM and looked at again for each new connection."""

    certificate: Path = Field(description="The server's certificate and those that vouch for it.")
    key: Path = Field(description="The certificate's private key.")
    client_ca: Path | None = Field(
        None, description="Who shows no certificate from one of these authorities is refused."
    )
    handshake_timeout_seconds: float = Field(10.0, gt=0, le=300, description="Longest handshake.")
