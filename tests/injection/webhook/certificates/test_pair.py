"""Certificates that are made here, over real TLS, and what is wrong with others."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sidelight.injection.webhook.certificates.pair import (
    Pair,
    UnusableCertificateError,
    check,
    expiry,
    lifetime,
    make,
    server_context,
)

NAMES = ("sidelight-injector.monitoring.svc", "sidelight-injector.monitoring")
NOW = datetime.now(UTC)


def handshake(pair: Pair, name: str, ca: bytes) -> str:
    """Shake hands in memory as strictly as Go does; the subject of the certificate shown."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=ca.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server_context(pair).wrap_bio(to_server, to_client, server_side=True)
    for side in (asking, answering, asking, answering, asking):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = asking.getpeercert()
    assert shown is not None
    return str(dict(entry[0] for entry in shown["subject"])["commonName"])  # type: ignore[misc]


def test_an_api_server_accepts_it() -> None:
    """Under each name, from the authority alone."""
    pair = make(NAMES, 365, NOW)
    check(pair, NAMES, NOW)
    for name in NAMES:
        assert handshake(pair, name, pair.ca) == NAMES[0]
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(pair, "another.monitoring.svc", pair.ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(pair, NAMES[0], make(NAMES, 365, NOW).ca)


def test_two_authorities_in_one_bundle_are_told_apart() -> None:
    """As while one takes the place of the other."""
    first, second = make(NAMES, 365, NOW), make(NAMES, 365, NOW)
    for pair in (first, second):
        assert handshake(pair, NAMES[0], first.ca + second.ca) == NAMES[0]


def test_its_validity_is_as_asked() -> None:
    """From a day before, because clocks differ."""
    pair = make(NAMES, 30, NOW)
    assert expiry(pair.certificate) - NOW <= timedelta(days=30)
    assert timedelta(days=30) < lifetime(pair.certificate) <= timedelta(days=31)
    assert expiry(pair.ca) == expiry(pair.certificate)


def test_a_name_of_any_length_is_possible() -> None:
    """A common name has at most 64 characters; a Service and a namespace have 63 each."""
    name = f"{'a' * 63}.{'b' * 63}.svc"
    pair = make([name], 365, NOW)
    assert handshake(pair, name, pair.ca) == name[:64]


def test_the_key_is_not_shown() -> None:
    """Neither in a traceback nor in a log line."""
    assert "PRIVATE" not in repr(make(NAMES, 365, NOW))


def test_what_is_wrong_is_said() -> None:
    """Of each kind of fault."""
    pair, other = make(NAMES, 365, NOW), make(NAMES, 365, NOW)
    for wrong, now, problem in (
        (replace(pair, certificate=b"text"), NOW, "not a certificate in PEM"),
        (replace(pair, ca=b"text"), NOW, "not a certificate in PEM"),
        (replace(pair, key=b"text"), NOW, "does not belong"),
        (replace(pair, key=other.key), NOW, "does not belong to its key"),
        (replace(pair, ca=other.ca), NOW, "does not belong"),
        (make(["another"], 365, NOW), NOW, "it is not for"),
        (pair, NOW + timedelta(days=366), "has expired"),
        (pair, NOW - timedelta(days=2), "not valid yet"),
    ):
        with pytest.raises(UnusableCertificateError, match=problem):
            check(wrong, NAMES, now)
