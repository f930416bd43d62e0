"""Reads key pairs of Langfuse SDKs from files and environment variables."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from sidelight.base.auth.guard import CredentialSource
from sidelight.base.auth.tokens import MIN_TOKEN_CHARACTERS, Credential, read_required
from sidelight.base.configuration.section import ConfigError, Secret
from sidelight.collector.receivers.langfuse_api.config import LangfuseApi, LangfuseKey


def credentials(config: LangfuseApi) -> CredentialSource | None:
    """The configured key pairs; None if there are none."""
    if not config.keys:
        return None
    secrets = [secret for key in config.keys for secret in (key.public_key, key.secret_key)]
    files = tuple(secret.file for secret in secrets if isinstance(secret, Secret) and secret.file)
    return CredentialSource(lambda: _headers(config.keys), files)


def _headers(keys: Sequence[LangfuseKey]) -> Iterator[Credential]:
    """Every key pair, as the Basic header that Langfuse SDKs send.

    Raises `ConfigError` naming the missing key.
    """
    for index, pair in enumerate(keys):
        where = f"receivers.langfuse_api.keys.{index}"
        public, secret = (
            key if isinstance(key, str) else read_required(key, f"{where}.{name} ({key})")
            for name, key in (("public_key", pair.public_key), ("secret_key", pair.secret_key))
        )
        # The secret key is what protects the port; the public key is known to many.
        if len(secret) < MIN_TOKEN_CHARACTERS:
            raise ConfigError(
                f"{where}.secret_key: must have at least {MIN_TOKEN_CHARACTERS} characters"
            )
        encoded = base64.b64encode(f"{public}:{secret}".encode()).decode()
        yield f"basic {encoded}", pair.tenant
