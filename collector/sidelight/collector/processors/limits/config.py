"""The configuration of the limits."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import MIB, Section


class Limits(Section):
    """How much a span or log record may hold; one that holds more is refused."""

    attributes: int = Field(2048, ge=1, description="Most attributes of a span or log record.")
    attribute_bytes: int = Field(
        8 * MIB, ge=1024, description="Largest attribute, key and value together."
    )
