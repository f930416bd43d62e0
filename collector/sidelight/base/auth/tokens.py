"""Secrets that senders prove themselves with, read from files and variables."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence

from sidelight.base.auth.config import TENANT_PATTERN, LangfuseKey, Tokens
from sidelight.base.configuration.section import ConfigError, Secret

# What a header can hold as a token (RFC 6750): no colon, so a tenant can stand before one.
_LINE = re.compile(rf"(?:({TENANT_PATTERN}|\*)\s*:\s*)?([A-Za-z0-9._~+/-]+=*)")
SHORTEST = 16
"""Characters. A shorter token can be guessed in reasonable time."""

Credential = tuple[str, str | None]
"""An Authorization header's value with the scheme in lower case, and its tenant."""


def of_tokens(tokens: Sequence[Tokens], section: str) -> Iterator[Credential]:
    """Every token of every source.

    Raises `ConfigError` naming source and line, never the line itself.
    """
    for index, source in enumerate(tokens):
        where = f"{section}.{index} ({source})"
        for number, line in enumerate(_read(source, where).splitlines(), 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            found = _LINE.fullmatch(text)
            if found is None:
                raise ConfigError(
                    f"{where}: line {number}: must be a token of letters, digits and -._~+/=, "
                    "alone or after its tenant and a colon"
                )
            tenant, token = found.groups()
            if len(token) < SHORTEST:
                raise ConfigError(
                    f"{where}: line {number}: the token has fewer than {SHORTEST} characters; "
                    "make one with `openssl rand -hex 32`"
                )
            yield f"bearer {token}", tenant or source.tenant


def of_langfuse(keys: Sequence[LangfuseKey]) -> Iterator[Credential]:
    """Every key pair, as the Basic header the Langfuse SDKs make of it.

    Raises `ConfigError` naming the key that is missing.
    """
    for index, pair in enumerate(keys):
        where = f"receive.langfuse.keys.{index}"
        public, secret = (
            each if isinstance(each, str) else _read(each, f"{where}.{name} ({each})")
            for name, each in (("public_key", pair.public_key), ("secret_key", pair.secret_key))
        )
        if len(secret) < SHORTEST:
            raise ConfigError(f"{where}.secret_key: it has fewer than {SHORTEST} characters")
        encoded = base64.b64encode(f"{public}:{secret}".encode()).decode()
        yield f"basic {encoded}", pair.tenant


def _read(secret: Secret, where: str) -> str:
    value = secret.read()
    if value is None:
        what = "set the variable" if secret.env else "write what it should hold, or take it away"
        raise ConfigError(f"{where}: it is empty: {what}")
    return value
