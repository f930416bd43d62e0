"""Which certificates the Secret holds, and when one takes the place of another; no clock, no I/O.

1. Nothing usable is there: a pair is made and is *current*.
2. The current pair has a third of its lifetime left: a *next* pair is made. Its authority goes into
   the `caBundle`, beside the current one.
3. Every API server has had time to read that: the next pair becomes current and is served. The
   authority of the one before stays in the `caBundle` until it expires, so that a replica that
   serves the old certificate for another moment is trusted too.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sidelight.injection.webhook.certificates.pair import (
    Pair,
    UnusableCertificateError,
    check,
    expiry,
    lifetime,
    make,
)

# A third leaves months to notice that renewing fails.
_REMAINING_SHARE: Final = 1 / 3

_CURRENT: Final = ("ca.crt", "tls.crt", "tls.key")
_NEXT: Final = ("next-ca.crt", "next-tls.crt", "next-tls.key")
_PREVIOUS: Final = "previous-ca.crt"

KEYS: Final = (*_CURRENT, *_NEXT, _PREVIOUS)
"""The keys of the Secret that are used here."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the Secret holds. `previous_ca` is the authority of the pair before, or empty."""

    current: Pair | None = None
    next: Pair | None = None
    previous_ca: bytes = b""

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """What the `caBundle` holds, in PEM, each once."""
        pairs = [pair.ca for pair in (self.current, self.next) if pair is not None]
        return tuple(dict.fromkeys([*pairs, *([self.previous_ca] if self.previous_ca else [])]))


@dataclass(frozen=True, slots=True)
class Renewal:
    """What new certificates are for, and how long they are valid."""

    names: Sequence[str]
    days: int


def from_data(data: Mapping[str, str]) -> Certificates:
    """The content of a Secret's `data`, as far as it is there; values are base64."""
    return Certificates(
        _pair_of(data, _CURRENT), _pair_of(data, _NEXT), decoded(data.get(_PREVIOUS))
    )


def to_data(certificates: Certificates) -> dict[str, str]:
    """The `data` of a Secret."""
    data: dict[str, bytes] = {}
    for pair, keys in ((certificates.current, _CURRENT), (certificates.next, _NEXT)):
        if pair is not None:
            data |= zip(keys, (pair.ca, pair.certificate, pair.key), strict=True)
    if certificates.previous_ca:
        data[_PREVIOUS] = certificates.previous_ca
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def advanced(
    stored: Certificates,
    served: Pair | None,
    renewal: Renewal,
    *,
    next_is_trusted: bool,
    now: datetime,
) -> Certificates:
    """What the Secret should hold instead of `stored`; equal to it if nothing is to be done.

    `served` is what this replica serves: it is stored again if the Secret has lost it.
    `next_is_trusted`: the API servers have had the authority of the next pair for long enough.
    """
    previous_ca = stored.previous_ca if _is_alive(stored.previous_ca, now) else b""
    coming = stored.next if _is_usable(stored.next, renewal, now) else None
    current = stored.current
    if current is None or not _is_usable(current, renewal, now):
        # What is served already is trusted already; the next pair is at least announced.
        candidates = (pair for pair in (served, coming) if _is_usable(pair, renewal, now))
        usable = next(candidates, None) or make(renewal.names, renewal.days, now)
        # Other replicas serve the old pair until they look again.
        previous_ca = (stored.current.ca if stored.current else b"") or previous_ca
        alive = previous_ca if _is_alive(previous_ca, now) else b""
        return Certificates(usable, None if coming == usable else coming, alive)
    if coming is not None and next_is_trusted:
        return Certificates(coming, None, current.ca)
    if coming is None and _is_due(current, now):
        coming = make(renewal.names, renewal.days, now)
    return replace(stored, next=coming, previous_ca=previous_ca)


def _is_due(pair: Pair, now: datetime) -> bool:
    remaining = expiry(pair.certificate) - now
    return remaining < lifetime(pair.certificate) * _REMAINING_SHARE


def _is_usable(pair: Pair | None, renewal: Renewal, now: datetime) -> bool:
    if pair is None:
        return False
    try:
        check(pair, renewal.names, now)
    except UnusableCertificateError:
        return False
    return True


def _is_alive(ca: bytes, now: datetime) -> bool:
    try:
        return bool(ca) and expiry(ca) > now
    except UnusableCertificateError:
        return False


def _pair_of(data: Mapping[str, str], keys: tuple[str, str, str]) -> Pair | None:
    ca, certificate, key = (decoded(data.get(name)) for name in keys)
    return Pair(ca, certificate, key) if ca and certificate and key else None


def decoded(value: object) -> bytes:
    """The bytes of a text in base64; none if it is something else."""
    try:
        return base64.b64decode(value) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return b""
