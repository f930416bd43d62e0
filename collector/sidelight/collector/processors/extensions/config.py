"""The configuration of an extension."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from sidelight.base.configuration.section import Section


class Extension(Section):
    """A function of your own that gets spans; a text alone is its `call`."""

    call: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:function")
    scopes: tuple[str, ...] = Field(
        (), description="Prefixes of the instrumentation scopes whose spans it gets; none: all."
    )

    @model_validator(mode="before")
    @classmethod
    def _text_is_call(cls, value: Any) -> Any:
        return {"call": value} if isinstance(value, str) else value
