"""Bearer tokens, read from files and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sidelight.base.auth.config import TENANT_PATTERN, Tokens
from sidelight.base.configuration.section import ConfigError, Secret

# What a header can hold as a token (RFC 6750): no colon, so a tenant can stand before one.
_LINE = re.compile(rf"(?:({TENANT_PATTERN}|\*)\s*:\s*)?([A-Za-z0-9._~+/-]+=*)")
MIN_TOKEN_CHARACTERS = 16
"""A shorter token can be guessed in reasonable time."""

Credential = tuple[str, str | None]
"""An Authorization header's value with the scheme in lower case, and its tenant."""


def of_tokens(tokens: Sequence[Tokens], section: str) -> Iterator[Credential]:
    """Every token of every source.

    Raises `ConfigError` naming source and line, never the line itself.
    """
    for index, source in enumerate(tokens):
        where = f"{section}.{index} ({source})"
        for number, line in enumerate(read_required(source, where).splitlines(), 1):
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
            if len(token) < MIN_TOKEN_CHARACTERS:
                raise ConfigError(
                    f"{where}: line {number}: the token has fewer than "
                    f"{MIN_TOKEN_CHARACTERS} characters; make one with `openssl rand -hex 32`"
                )
            yield f"bearer {token}", tenant or source.tenant


def read_required(secret: Secret, where: str) -> str:
    """The secret at the key `where`. Raises `ConfigError` if it is empty."""
    value = secret.read()
    if value is None:
        what = "set the variable" if secret.env else "write what it should hold, or take it away"
        raise ConfigError(f"{where}: it is empty: {what}")
    return value
