"""Builds request headers from secrets, which are read when needed and never shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sidelight.base.configuration.section import ConfigError, Secret


class Credentials(Protocol):
    """The credentials that a destination sends."""

    @property
    def sources(self) -> str:
        """Where they are configured, for messages: names of variables and files, no values."""

    def headers(self) -> dict[str, str]:
        """The headers, from secrets read now. Raises `ConfigError` for a missing secret."""


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic authentication. Both secrets must be set."""

    user: Secret
    password: Secret

    @property
    def sources(self) -> str:
        return f"{self.user} and {self.password}"

    def headers(self) -> dict[str, str]:
        pair = f"{required_value(self.user)}:{required_value(self.password)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token. If it is not set, no header is sent: the backend may not need one."""

    token: Secret

    @property
    def sources(self) -> str:
        return str(self.token)

    def headers(self) -> dict[str, str]:
        # A Phoenix without authentication is common, so an unset token is no fault.
        token = self.token.read()
        return {"Authorization": f"Bearer {header_value(token, self.token)}"} if token else {}


@dataclass(frozen=True, slots=True)
class SecretHeaders:
    """Headers with secret values. All must be set."""

    secrets: Mapping[str, Secret]

    @property
    def sources(self) -> str:
        if not self.secrets:
            return "whether it requires a header (none is configured under headers)"
        return " and ".join(f"{secret} (header {name})" for name, secret in self.secrets.items())

    def headers(self) -> dict[str, str]:
        return {
            name: header_value(required_value(secret), secret)
            for name, secret in self.secrets.items()
        }


def required_value(secret: Secret) -> str:
    """The secret. Raises `ConfigError` if it is not set."""
    value = secret.read()
    if not value:
        problem = "is not set in the environment" if secret.env else "is empty"
        raise ConfigError(f"the secret {secret} {problem}")
    return value


def header_value(value: str, secret: Secret) -> str:
    """The value. Raises `ConfigError` if a header cannot hold it.

    Checked here, because the error of a library would quote the value.
    """
    if not re.fullmatch(r"[\x20-\x7e]*", value):
        raise ConfigError(f"the secret {secret} has a line break or a character outside ASCII")
    return value
