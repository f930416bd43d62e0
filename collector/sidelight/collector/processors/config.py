"""The `shape` section: what may be kept of content, what is masked, prices, own callables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from sidelight.base.configuration.section import MIB, Secret, Section

ContentPolicy = Literal["off", "ids", "truncated", "hashed", "full"]
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

_CAPTURE_CONTENT = "SIDELIGHT_CAPTURE_CONTENT"


def _policy(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


class Content(Section):
    """How much of what users and documents said is passed on, by service.

    Senders decide first, by their own setting; a policy here can only take away.
    """

    default: ContentPolicy | None = Field(
        None,
        description="none: SIDELIGHT_CAPTURE_CONTENT if it is set for the collector, else full, "
        "which passes on what senders chose to send.",
    )
    services: dict[str, ContentPolicy] = Field(
        default_factory=dict,
        description="Policy by service.name; * and ? match, an exact name wins.",
    )
    max_characters: int = Field(1000, ge=0, description="Longest text under truncated.")
    hash_key: Secret | None = Field(
        None,
        description="Key of the marks under hashed; none: a new one at each start, so that equal "
        "texts have equal marks only until the next.",
    )

    @field_validator("default", mode="before")
    @classmethod
    def _default_off(cls, value: Any) -> Any:
        return _policy(value)

    @field_validator("services", mode="before")
    @classmethod
    def _services_off(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _policy(each) for key, each in value.items()}
        return value

    def effective_default(self) -> ContentPolicy:
        """The default, from the environment if the configuration has none.

        Raises `ValueError` if SIDELIGHT_CAPTURE_CONTENT holds no policy.
        """
        if self.default is not None:
            return self.default
        value = os.environ.get(_CAPTURE_CONTENT, "").strip().lower()
        if not value:
            return "full"
        for policy in get_args(ContentPolicy):
            if value == policy:
                found: ContentPolicy = policy
                return found
        allowed = ", ".join(get_args(ContentPolicy))
        raise ValueError(f"{_CAPTURE_CONTENT} (is {value!r}): must be one of {allowed}")


class OwnPattern(Section):
    """A pattern of one's own to mask, in RE2 syntax; a group limits what is masked."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$", description="What it is counted under as a rule."
    )
    pattern: str = Field(min_length=1, max_length=1000, description="RE2 syntax.")
    mark: str = Field("", max_length=60, description="none: the name in brackets.")


class Redact(Section):
    """Masking of personal data and secrets, in spans and log records of all services."""

    enabled: bool = Field(False, description="Whether anything is masked.")
    rules: tuple[RuleName, ...] = Field(
        get_args(RuleName), description="Rules that are on; all of them by default."
    )
    patterns: tuple[OwnPattern, ...] = Field((), description="Patterns of one's own to mask.")


class Extension(Section):
    """A callable of one's own, span in, span out; a text alone is its `call`."""

    call: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:function")
    scopes: tuple[str, ...] = Field(
        (), description="Beginnings of the instrumentation scopes it is for; none: all."
    )

    @model_validator(mode="before")
    @classmethod
    def _text_is_call(cls, value: Any) -> Any:
        return {"call": value} if isinstance(value, str) else value


class Limits(Section):
    """What a span or log record may have; one that has more is refused to its sender."""

    attributes: int = Field(2048, ge=1, description="Most attributes of a span or log record.")
    attribute_bytes: int = Field(
        8 * MIB, ge=1024, description="Largest attribute, key and value together."
    )


class ProcessorsConfig(Section):
    """What happens to spans and log records before they touch the disk."""

    limits: Limits = Limits()
    content: Content = Content()
    redact: Redact = Redact()
    prices: Path | None = Field(None, description="YAML file of prices; none: no cost is set.")
    extensions: tuple[Extension, ...] = Field(
        (), description="Callables of one's own, in the order in which they are called."
    )
