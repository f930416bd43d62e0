"""Reads and checks the certificates of listeners, and follows changes of their files."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.config import Tls
from sidelight.base.tls.watched import Watched


def context_of(
    tls: Tls, section: str, *, client_certificate: ssl.VerifyMode = ssl.CERT_REQUIRED
) -> Callable[[], ssl.SSLContext]:
    """A function that returns the context for the next connection; it follows the files.

    `client_certificate` applies if a client CA is configured. Raises `ConfigError` naming key
    and file.
    """
    watched = Watched(files(tls), lambda: make_context(tls, section, client_certificate))
    return watched.current


def files(tls: Tls) -> list[Path]:
    """The files of a `tls` section."""
    return [path for path in (tls.certificate, tls.key, tls.client_ca) if path is not None]


def make_context(tls: Tls, section: str, client_certificate: ssl.VerifyMode) -> ssl.SSLContext:
    """A context for TLS 1.2 and above. Raises `ConfigError` naming key and file."""
    return named_context(tls, f"{section}.tls.", client_certificate)


def named_context(tls: Tls, prefix: str, client_certificate: ssl.VerifyMode) -> ssl.SSLContext:
    """The same for files that are not named in a section. `prefix` goes before the key's name."""
    # Checked before OpenSSL reads them: its errors name neither the file nor the fault.
    _pem(tls.certificate, f"{prefix}certificate", "CERTIFICATE")
    if b"ENCRYPTED" in _pem(tls.key, f"{prefix}key", "PRIVATE KEY"):
        raise ConfigError(
            f"{prefix}key: {tls.key} is encrypted: store it without a passphrase, "
            "readable by this user only"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(_pair_problem(tls, prefix, error)) from None
    if tls.client_ca is not None:
        where = f"{prefix}client_ca"
        _pem(tls.client_ca, where, "CERTIFICATE")
        try:
            context.load_verify_locations(tls.client_ca)
        except (ssl.SSLError, OSError):
            raise ConfigError(
                f"{where}: {tls.client_ca} does not hold a valid certificate"
            ) from None
        context.verify_mode = client_certificate
    return context


def _pem(path: Path, where: str, kind: str) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{where}: {path} cannot be read: {error.strerror}; "
            "correct the path, or let this user read it"
        ) from None
    if f"{kind}-----".encode() not in text:
        raise ConfigError(f"{where}: {path} does not hold a {kind.lower()} in PEM")
    return text


def _pair_problem(tls: Tls, prefix: str, error: OSError) -> str:
    reason = getattr(error, "reason", None) or ""
    if "MISMATCH" in reason:
        return (
            f"{prefix}key: {tls.key} does not belong to the certificate {tls.certificate}: "
            "name its own key; the server's certificate must come first in the file"
        )
    return (
        f"{prefix}certificate: {tls.certificate} and {tls.key} cannot be used"
        f"{f' ({reason})' if reason else ''}: create new ones"
    )
