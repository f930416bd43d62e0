"""Who may send, and for whom: bearer tokens and Langfuse's key pairs, checked per request."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from sidelight.base.auth import tokens as read
from sidelight.base.auth.config import LangfuseKey, Tokens
from sidelight.base.auth.tokens import Credential
from sidelight.base.configuration.section import ConfigError, Secret
from sidelight.base.tls.watched import Watched

Reason = Literal["missing", "scheme", "unknown", "certificate"]
_SCHEMES: Final = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends; `tenant` is None for those who belong to none, `*` for those who may say."""

    tenant: str | None = None


class Guard:
    """Knows whom to let in. Without any configured credential everybody is.

    Raises `ConfigError` when it is made from what cannot be read.
    """

    def __init__(
        self, tokens: Sequence[Tokens], section: str, pairs: Sequence[LangfuseKey] = ()
    ) -> None:
        """`section` is where the tokens stand in the configuration."""
        self.is_open = not tokens and not pairs
        # Digests are looked up, under a key that no sender knows: how long that takes depends
        # on nothing they could choose, and so tells nothing about the tokens.
        self._key = secrets.token_bytes(32)
        secrets_named = chain(tokens, *((each.public_key, each.secret_key) for each in pairs))
        self._known = Watched(
            _files(secrets_named),
            lambda: self._table(chain(read.of_tokens(tokens, section), read.of_langfuse(pairs))),
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
                    f"one token or key pair stands for two tenants, {tenant or 'none'} and "
                    "another: give each tenant its own"
                )
        return table

    def _digest(self, credential: str) -> bytes:
        return blake2b(credential.encode(), key=self._key, digest_size=16).digest()


def _files(named: Iterable[Secret | str]) -> list[Path]:
    return [each.file for each in named if isinstance(each, Secret) and each.file is not None]
