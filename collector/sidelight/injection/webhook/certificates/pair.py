"""A certificate of the webhook with its key and authority: made, checked, read."""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Clocks of API servers and of other replicas differ from ours, rarely by more than this.
_BACKDATED: Final = timedelta(days=1)
# RFC 5280, upper bound of a common name.
_MAX_COMMON_NAME: Final = 64


class UnusableCertificateError(Exception):
    """What is wrong with a certificate, as the rest of a sentence."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A server certificate and its key, and the authority that signed it, all in PEM."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def make(names: Sequence[str], days: int, now: datetime) -> Pair:
    """A certificate for the DNS `names`, valid for `days`, from an authority of its own.

    The authority's key is thrown away: nobody can sign anything else that the API server would
    trust.
    """
    valid = (now - _BACKDATED, now + timedelta(days=days))
    ca_key = ec.generate_private_key(ec.SECP256R1())
    # Each authority has a name of its own, so that two in one bundle are told apart.
    ca_name = _name(f"sidelight-injector-ca-{secrets.token_hex(8)}")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca_name, key.public_key(), valid)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    return Pair(
        ca=ca.public_bytes(serialization.Encoding.PEM),
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def check(pair: Pair, names: Sequence[str], now: datetime) -> None:
    """Raise `UnusableCertificateError` unless an API server would accept it under all `names`."""
    certificate, authority = _load(pair.certificate), _load(pair.ca)
    try:
        key = serialization.load_pem_private_key(pair.key, None)
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise UnusableCertificateError("it does not belong to its key or authority") from None
    if key.public_key() != certificate.public_key():
        raise UnusableCertificateError("it does not belong to its key")
    if not _named(certificate) >= set(names):
        raise UnusableCertificateError(f"it is not for {', '.join(names)}")
    if not certificate.not_valid_before_utc <= now < expiry(pair.certificate):
        raise UnusableCertificateError("it has expired, or is not valid yet")


def expiry(certificate: bytes) -> datetime:
    """When the first certificate in PEM expires. Raises `UnusableCertificateError`."""
    return _load(certificate).not_valid_after_utc


def lifetime(certificate: bytes) -> timedelta:
    """For how long it is valid in all. Raises `UnusableCertificateError`."""
    loaded = _load(certificate)
    return loaded.not_valid_after_utc - loaded.not_valid_before_utc


def server_context(pair: Pair) -> ssl.SSLContext:
    """A context for TLS 1.2 and above. The key is not written to a disk.

    Raises `ssl.SSLError` for what OpenSSL does not accept.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL's Python module reads keys from files only.
    memory = os.memfd_create("sidelight-injector")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(pair.certificate + pair.key)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    valid: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_MAX_COMMON_NAME])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise UnusableCertificateError("it is not a certificate in PEM") from None


def _named(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return set(extension.value.get_values_for_type(x509.DNSName))
