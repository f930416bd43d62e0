"""Reads bearer tokens from files and environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sidelight.base.auth.config import TENANT_PATTERN, Tokens
from sidelight.base.configuration.section import ConfigError, Secret

# A bearer token (`b64token` of RFC 6750) has no colon, so a colon can separate it from its tenant.
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
            match = _LINE.fullmatch(text)
            if match is None:
                raise ConfigError(
                    f"{where}: line {number}: must be a token of letters, digits and -._~+/=, "
                    "alone or after its tenant and a colon"
                )
            tenant, token = match.groups()
            if len(token) < MIN_TOKEN_CHARACTERS:
                raise ConfigError(
                    f"{where}: line {number}: the token has fewer than "
                    f"{MIN_TOKEN_CHARACTERS} characters; make one with `openssl rand -hex 32`"
                )
            yield f"bearer {token}", tenant or source.tenant


def read_required(secret: Secret, where: str) -> str:
    """The secret at the key `where`. Raises `ConfigError` if it is empty."""
    value = secret.read()
    # An empty source is refused: without it, a failed mount would open the port to every sender.
    if value is None:
        advice = "set the variable" if secret.env else "write the secret to it, or remove the key"
        raise ConfigError(f"{where}: empty; {advice}")
    return value
