"""The configuration of redaction."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from sidelight.base.configuration.section import Section

RuleName = Literal[
    "private_key",
    "jwt",
    "authorization",
    "basic_authorization",
    "url_password",
    "api_key",
    "aws_secret",
    "email",
    "iban",
    "card",
    "phone",
]


class OwnPattern(Section):
    """A pattern of your own to mask; a group limits what is masked."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$", description="The name under which masks are counted."
    )
    pattern: str = Field(min_length=1, max_length=1000, description="RE2 syntax.")
    mark: str = Field("", max_length=60, description="none: the name in brackets.")


class Redact(Section):
    """Masks personal data and secrets in spans and log records of all services."""

    enabled: bool = Field(False, description="Whether anything is masked.")
    rules: tuple[RuleName, ...] = Field(
        get_args(RuleName), description="Rules that are applied; default: all."
    )
    patterns: tuple[OwnPattern, ...] = Field((), description="Patterns of your own to mask.")
