"""Who may send, and for which tenant: credentials, checked with each request."""

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
_SCHEMES: Final = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends; `tenant` is None for those who belong to none, `*` for those who may say."""

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
    files = tuple(each.file for each in tokens if each.file is not None)
    return CredentialSource(lambda: of_tokens(tokens, section), files)


class Guard:
    """Tells who sends. Without any source of credentials every sender is admitted.

    Raises `ConfigError` when it is made from what cannot be read.
    """

    def __init__(self, sources: Iterable[CredentialSource | None] = ()) -> None:
        used = [each for each in sources if each is not None]
        self.is_open = not used
        # Digests are looked up, under a key that no sender knows: how long that takes depends
        # on nothing they could choose, and so tells nothing about the tokens.
        self._key = secrets.token_bytes(32)
        self._known = Watched(
            [file for source in used for file in source.files],
            lambda: self._table(chain.from_iterable(source.read() for source in used)),
        )

    def identify(self, authorization: str | None) -> Identity | Reason:
        """Who sent this header, or why it will not do; takes 1 µs."""
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
            if table.setdefault(self._digest(credential), identity) != identity:
                raise ConfigError(
                    f"one token or key pair belongs to two tenants, {tenant or 'none'} and "
                    "another: give each tenant its own"
                )
        return table

    def _digest(self, credential: str) -> bytes:
        return blake2b(credential.encode(), key=self._key, digest_size=16).digest()
