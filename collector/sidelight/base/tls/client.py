"""TLS to backends: one context for each distinct set of certificates, built on a thread.

A context with the system's authorities takes 0.9 MB and 45 to 90 ms of CPU, so all destinations
share contexts.
"""

from __future__ import annotations

import os
import ssl
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sidelight.base.executor import DaemonExecutor
from sidelight.base.tls.config import ClientCertificate
from sidelight.base.tls.watched import Stamp, stamp

# OpenSSL takes the authorities from them if no `ca` is configured.
_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class TlsFileError(Exception):
    """Certificates that cannot be used. The message names the file and the problem."""


class _Source(NamedTuple):
    """What a context is built from; contexts with equal sources are shared."""

    ca: Path | None
    client_certificate: ClientCertificate | None
    variables: tuple[str | None, ...]

    def files(self) -> list[Path]:
        paths = [] if self.ca is None else [self.ca]
        if self.client_certificate is not None:
            paths += [self.client_certificate.certificate, self.client_certificate.key]
        if self.ca is None:
            defaults = ssl.get_default_verify_paths()
            paths += [Path(path) for path in (defaults.cafile, defaults.capath) if path]
        return paths


class ClientContexts:
    """Shared contexts. A context is built again once one of its files has changed."""

    def __init__(self) -> None:
        # One thread: destinations that need the same context at the same time build it once.
        self._worker = DaemonExecutor("sidelight-tls")
        self._contexts: dict[_Source, tuple[list[Stamp], ssl.SSLContext]] = {}

    async def get(
        self, ca: Path | None = None, client_certificate: ClientCertificate | None = None
    ) -> ssl.SSLContext:
        """The context for a new connection. Checks each time whether the files have changed.

        `ca`, a PEM file, replaces the system's authorities, which SSL_CERT_FILE and SSL_CERT_DIR
        can set. Raises `TlsFileError`.
        """
        variables = tuple(os.environ.get(name) for name in _VARIABLES)
        source = _Source(ca, client_certificate, variables)
        return await self._worker.run(partial(self._current, source))

    def _current(self, source: _Source) -> ssl.SSLContext:
        # Before reading: a change in between is then seen the next time.
        stamps = [stamp(path) for path in source.files()]
        known = self._contexts.get(source)
        if known is not None and known[0] == stamps:
            return known[1]
        context = _build(source)
        self._contexts[source] = (stamps, context)
        return context


def check_files(ca: Path | None, client_certificate: ClientCertificate | None) -> None:
    """Read the certificates as `ClientContexts` does; blocks. Raises `TlsFileError`."""
    _build(_Source(ca, client_certificate, ()))


shared = ClientContexts()
"""The contexts of this process."""


def _build(source: _Source) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=source.ca)
    except OSError as error:
        problem = f"ca: {source.ca} cannot be used: {_problem(error)}; name a file in PEM"
        raise TlsFileError(problem) from None
    if source.ca is not None:
        # Python's default since 3.13. Private authorities often lack what it asks for; that of an
        # EKS cluster has no key identifier (awslabs/mcp#3791). Chains, names and times are checked.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    client = source.client_certificate
    if client is not None:
        try:
            # Without a password OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(client.certificate, client.key, password="")
        except OSError as error:
            pair = f"{client.certificate} and {client.key}"
            problem = (
                f"client_certificate: {pair} cannot be used: {_problem(error)}; "
                "name a certificate in PEM and its key without a passphrase"
            )
            raise TlsFileError(problem) from None
    return context


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "not valid PEM").replace("_", " ").lower()
    return str(error.strerror).lower()
