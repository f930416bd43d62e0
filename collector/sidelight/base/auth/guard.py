"""Identifies senders and their tenants by the credentials of each request."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from sidelight.base.auth.config import Tokens
from sidelight.base.auth.tokens import Credential, of_tokens
from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.watched import Watched

Reason = Literal["missing", "scheme", "unknown", "certificate"]
"""Why a sender is refused; a label value of the counter of refused senders."""

# Bearer for the tokens in `auth`, Basic for the key pairs of the Langfuse SDKs.
_SCHEMES: Final = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Identity:
    """A known sender. Its `tenant` is None without one, and `*` if the sender names it itself."""

    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Where credentials come from: a function that reads them, and the files it reads.

    `read` raises `ConfigError`, naming the key and never the credential.
    """

    read: Callable[[], Iterable[Credential]]
    files: tuple[Path, ...] = ()


def token_source(tokens: Sequence[Tokens], section: str) -> CredentialSource | None:
    """The tokens at `section` of the configuration; None if there are none."""
    if not tokens:
        return None
    files = tuple(source.file for source in tokens if source.file is not None)
    return CredentialSource(lambda: of_tokens(tokens, section), files)


class Guard:
    """Identifies senders. Without any credentials configured it accepts every sender.

    Raises `ConfigError` for credentials that cannot be read.
    """

    def __init__(self, sources: Iterable[CredentialSource | None] = ()) -> None:
        configured = [source for source in sources if source is not None]
        self.is_open = not configured
        # Keyed digests are looked up, not the credentials. Senders do not know the key, so the
        # time that a lookup takes tells them nothing about the tokens.
        self._key = secrets.token_bytes(32)
        # The files are followed, so that tokens can be rotated without a restart.
        self._known = Watched(
            [file for source in configured for file in source.files],
            lambda: self._table(chain.from_iterable(source.read() for source in configured)),
        )

    def identify(self, authorization: str | None) -> Identity | Reason:
        """The sender with this Authorization header, or why it is refused; takes 1 µs."""
        if not authorization:
            return "missing"
        scheme, _, value = authorization.partition(" ")
        scheme = scheme.lower()
        if scheme not in _SCHEMES:
            return "scheme"
        return self._known.current().get(self._digest(f"{scheme} {value.strip()}"), "unknown")

    def _table(self, credentials: Iterable[Credential]) -> dict[bytes, Identity]:
        table: dict[bytes, Identity] = {}
        for credential, tenant in credentials:
            identity = Identity(tenant)
            # The message names no credential: it goes to the log and to the doctor's report.
            if table.setdefault(self._digest(credential), identity) != identity:
                raise ConfigError(
                    f"one token or key pair belongs to two tenants, {tenant or 'none'} and "
                    "another: give each tenant its own"
                )
        return table

    def _digest(self, credential: str) -> bytes:
        return blake2b(credential.encode(), key=self._key, digest_size=16).digest()
