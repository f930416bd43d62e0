"""Certificates for tests: an authority of their own, and what it issues, as files."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

from support.waiting import PATIENCE_SECONDS


@dataclass(frozen=True)
class Files:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates for this machine's loopback."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.certificate = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str = "server") -> Files:
        """A new pair; under a name that has one it takes its place."""
        files = Files(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        issued = self._authority.issue_cert("127.0.0.1", "localhost", common_name=name)
        files.key.write_bytes(issued.private_key_pem.bytes())
        files.certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        return files

    def client(self, files: Files | None = None) -> ssl.SSLContext:
        """Trusts this authority; shows `files` to servers that ask."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return context


def serial_number(port: int, context: ssl.SSLContext) -> str:
    """Of the certificate that a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        shown = secured.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])
