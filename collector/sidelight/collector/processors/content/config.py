"""The configuration of the content processor."""

from __future__ import annotations

import os
from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from sidelight.base.configuration.section import Secret, Section

ContentPolicy = Literal["off", "ids", "truncated", "hashed", "full"]

_CAPTURE_CONTENT = "SIDELIGHT_CAPTURE_CONTENT"


def _policy(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


class Content(Section):
    """How much of the content of prompts, answers and documents is kept, by service.

    Senders decide first, by their own setting; a policy here can only remove content.
    """

    default: ContentPolicy | None = Field(
        None,
        description="none: SIDELIGHT_CAPTURE_CONTENT if it is set for the collector, else full, "
        "which keeps what senders chose to send.",
    )
    services: dict[str, ContentPolicy] = Field(
        default_factory=dict,
        description="Policy by service.name; * and ? match. An exact name wins.",
    )
    max_characters: int = Field(1000, ge=0, description="Longest text under truncated.")
    hash_key: Secret | None = Field(
        None,
        description="Key of the hashes; none: a new one at each start, so that equal texts have "
        "equal hashes only until the next start.",
    )

    @field_validator("default", mode="before")
    @classmethod
    def _default_off(cls, value: Any) -> Any:
        return _policy(value)

    @field_validator("services", mode="before")
    @classmethod
    def _services_off(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {service: _policy(policy) for service, policy in value.items()}
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
                chosen: ContentPolicy = policy
                return chosen
        allowed = ", ".join(get_args(ContentPolicy))
        raise ValueError(f"{_CAPTURE_CONTENT} (is {value!r}): must be one of {allowed}")
