"""Request headers made of secrets, which are read when needed and never shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sidelight.base.configuration.section import ConfigError, Secret


class Credentials(Protocol):
    """What a destination proves itself with."""

    @property
    def sources(self) -> str:
        """Where a person finds them: names of variables and files, never a value."""

    def headers(self) -> dict[str, str]:
        """The headers, from secrets read now. Raises `ConfigError` saying what is missing."""


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic: both secrets must be set."""

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
    """A bearer token; unset, the backend is taken to want none."""

    token: Secret

    @property
    def sources(self) -> str:
        return str(self.token)

    def headers(self) -> dict[str, str]:
        token = self.token.read()
        return {"Authorization": f"Bearer {header_value(token, self.token)}"} if token else {}


@dataclass(frozen=True, slots=True)
class SecretHeaders:
    """Headers whose values are secrets; all must be set."""

    secrets: Mapping[str, Secret]

    @property
    def sources(self) -> str:
        if not self.secrets:
            return "whether it wants a header; none is configured under headers"
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
        what = "set it in the environment" if secret.env else "the file is empty"
        raise ConfigError(f"the secret {secret} is missing; {what}")
    return value


def header_value(value: str, secret: Secret) -> str:
    """The value, unless a header cannot hold it: the HTTP library would show it in its error."""
    if not re.fullmatch(r"[\x20-\x7e]*", value):
        raise ConfigError(f"the secret {secret} holds a line break or a character beyond ASCII")
    return value
