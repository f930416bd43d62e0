"""The building blocks of sidelight.yaml: strict mappings, URLs, secrets by reference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=0, le=65535, description="0: the system chooses one.")]
Host = Annotated[
    str, Field(description="Address to listen on. 127.0.0.1: only this machine reaches it.")
]
MIB = 1024 * 1024


class ConfigError(Exception):
    """A configuration that cannot be used; the message names key, value and what is allowed."""


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        # Not Python's own message: it quotes what it takes for the port, which is half of a
        # password that holds a slash.
        raise ValueError("must be a URL; its port, if it has one, from 1 to 65535") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        raise ValueError("must be an http:// or https:// URL with a host")
    if any(map(str.isspace, url)):
        raise ValueError("must not contain white space")
    if parts.username or parts.password:
        raise ValueError("must not contain a user or password: name them by environment or file")
    return url.rstrip("/")


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        # The URL is shown in log lines, in the doctor's report and on /readyz.
        raise ValueError("must be a base URL without ? and #: a secret there would be logged")
    return url


HttpUrl = Annotated[str, AfterValidator(_http_url)]
BaseUrl = Annotated[HttpUrl, AfterValidator(_base_url)]


class Section(BaseModel):
    """A mapping of the file. Unknown keys are errors; values are immutable."""

    # Built when it is first used: most sections are only part of a larger one, which is built
    # with all of its parts.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections_are_absent(cls, value: Any) -> Any:
        """A section whose keys are all commented out is None to YAML."""
        if not isinstance(value, dict):
            return value
        sections = {
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        }
        return {key: item for key, item in value.items() if item is not None or key not in sections}


class Secret(Section):
    """Where a secret is: `{env: NAME}` or `{file: PATH}`. It is read whenever it is used."""

    env: str | None = Field(None, description="Environment variable that holds the secret.")
    file: Path | None = Field(
        None, description="File that holds the secret, read whenever it is used."
    )

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("a secret must not be in the file; write {env: NAME} or {file: PATH}")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("name exactly one of env and file")
        return self

    @property
    def is_optional(self) -> bool:
        """Whether it may be unset where the configuration does not name it."""
        return False

    def read(self) -> str | None:
        """The secret without surrounding white space, or None if it is unset or empty.

        A file is read each time, so a rotated secret is used without a restart.

        Raises `ConfigError` if the file cannot be read.
        """
        if self.env is not None:
            return os.environ.get(self.env, "").strip() or None
        assert self.file is not None
        try:
            return self.file.read_text().strip() or None
        except OSError as error:
            raise ConfigError(f"secret file {self.file}: {error.strerror}") from error
        except UnicodeDecodeError:
            # Not chained: the error holds the bytes of the secret.
            raise ConfigError(f"secret file {self.file}: not UTF-8 text") from None

    def __str__(self) -> str:
        return f"${self.env}" if self.env is not None else str(self.file)


class OptionalSecret(Secret):
    """A secret that need not be set unless the configuration names it."""

    @property
    def is_optional(self) -> bool:
        return True
