"""Rules of sidelight.yaml that select the data of a destination."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from sidelight.base.configuration.section import Section
from sidelight.conventions import KIND_OF_OPERATION, SPAN_KINDS


def _listed(value: Any) -> Any:
    """A list of texts. A single value is a list of one; numbers and booleans become text."""
    values = value if isinstance(value, list | tuple) else [value]
    return [
        str(item).lower() if isinstance(item, bool) else str(item)
        for item in values
        if item is not None
    ]


def _span_kind(value: str) -> str:
    # The names of operations are accepted as well: `retrieval` means `retriever`.
    kind = KIND_OF_OPERATION.get(value.lower(), value.upper())
    if kind not in SPAN_KINDS:
        raise ValueError(f"must be one of {', '.join(known.lower() for known in SPAN_KINDS)}")
    return kind


# Values as people write them in YAML: `status: 500` matches the number and the text.
_Value = str | int | float | bool
# At least one: an empty list would match nothing, which is never meant.
Patterns = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=_Value | tuple[_Value, ...]),
]
SpanKind = Annotated[str, BeforeValidator(_span_kind)]


class Match(Section):
    """A rule. All its conditions must match; of a list of values, one must match.

    Values are exact, or patterns with `*` and `?`. A rule with a condition on spans (kinds,
    names, attributes, errors) does not apply to metrics and logs.
    """

    services: Patterns | None = Field(None, description="service.name of the resource.")
    resource: dict[str, Patterns] = Field(
        default_factory=dict, description="Resource attributes and their values."
    )
    scopes: Patterns | None = Field(None, description="Name of the instrumentation scope.")
    kinds: tuple[SpanKind, ...] | None = Field(
        None, min_length=1, description="llm, retriever, embedding, chain, agent, tool, …"
    )
    names: Patterns | None = Field(None, description="Names of spans.")
    attributes: dict[str, Patterns] = Field(
        default_factory=dict, description="Span attributes and their values."
    )
    errors: bool | None = Field(None, description="Whether the span's status is an error.")

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        # A kind alone is the usual rule: `only: [llm, retriever]`.
        return {"kinds": [value]} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _asks_something(self) -> Match:
        if self == Match.model_construct():
            raise ValueError(
                "a rule without a condition matches everything: "
                f"set one of {', '.join(sorted(Match.model_fields))}"
            )
        return self
