"""Who asked for injection, and which container runs vLLM."""

from __future__ import annotations

from typing import Final

from sidelight.injection import names
from sidelight.injection.expressions.collections import Exists, Joined
from sidelight.injection.expressions.conditions import Equal, Every, If, In, Matches, Not, Some
from sidelight.injection.expressions.nodes import (
    Expression,
    Field,
    Has,
    Item,
    Literal,
    Name,
    Size,
    Variable,
)
from sidelight.injection.pod import (
    ANNOTATIONS,
    CANDIDATES,
    CONTAINERS,
    LABELS,
    NAMESPACE_LABELS,
    first,
    indices,
)

# `sh -c "exec vllm serve …"`, `python3 -m vllm.entrypoints.openai.api_server`.
_IN_ONE_WORD: Final = (
    r"""(^|[\s/;&|("'`])vllm\s+serve(\s|$)|vllm[./]entrypoints[./](openai[./])?(api_server|cli)"""
)
_PROGRAM: Final = r"^(.*/)?vllm$"
# The last part of the name: neither the registry nor the tag says what is in an image.
_IMAGE: Final = r"(^|/)[^/:@]*vllm[^/:@]*([:@][^/]*)?$"
# Images around vLLM that do not run it.
_OTHER_IMAGE: Final = (
    r"(^|/)[^/:@]*(router|gateway|proxy|exporter|bench|client|operator|controller|autoscaler)"
    r"[^/:@]*([:@][^/]*)?$"
)

_HERE: Final = Item(CONTAINERS, Name("i"))
_WORDS: Final = Joined((Field(_HERE, "command", []), Field(_HERE, "args", [])))
_IS_NAMED: Final = Equal(Field(_HERE, "name", ""), Field(ANNOTATIONS, names.CONTAINER, ""))
_RUNS_VLLM: Final = Some(
    (
        Exists(_WORDS, "w", Matches(Name("w"), _IN_ONE_WORD)),
        Every(
            (
                Exists(_WORDS, "w", Matches(Name("w"), _PROGRAM)),
                In(Literal("serve"), _WORDS),
                Not(In(Literal("bench"), _WORDS)),
            )
        ),
    )
)
_HAS_IMAGE: Final = Every(
    (
        Matches(Field(_HERE, "image", ""), _IMAGE),
        Not(Matches(Field(_HERE, "image", ""), _OTHER_IMAGE)),
    )
)
_HAS_COMMAND: Final = Has(_HERE, "command")

CHOICE: Final = If(
    Has(ANNOTATIONS, names.INJECT),
    Field(ANNOTATIONS, names.INJECT, ""),
    If(
        Has(LABELS, names.INJECT),
        Field(LABELS, names.INJECT, ""),
        Field(NAMESPACE_LABELS, names.INJECT, ""),
    ),
)
"""What the pod says about injection, or else its namespace."""

VARIABLES: Final[dict[str, Expression]] = {
    "byCommand": indices(CONTAINERS, "i", _RUNS_VLLM),
    # With the command of the image, which starts vLLM's server.
    "byImage": indices(CONTAINERS, "i", Every((_HAS_IMAGE, Not(_HAS_COMMAND)))),
    # A script, or `ray start`: vLLM may run there.
    "byImageAlone": indices(CONTAINERS, "i", Every((_HAS_IMAGE, _HAS_COMMAND))),
    "candidates": If(
        Has(ANNOTATIONS, names.CONTAINER),
        indices(CONTAINERS, "i", _IS_NAMED),
        If(
            Not(Equal(Size(Variable("byCommand")), Literal(0))),
            Variable("byCommand"),
            If(
                Not(Equal(Size(Variable("byImage")), Literal(0))),
                Variable("byImage"),
                Variable("byImageAlone"),
            ),
        ),
    ),
    "container": If(
        Equal(Size(CANDIDATES), Literal(0)), Literal({}), Item(CONTAINERS, first(CANDIDATES))
    ),
}
"""In the order in which they use each other."""
