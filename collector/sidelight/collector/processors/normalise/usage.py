"""Token counts and costs such that Langfuse neither adds nor estimates any.

Langfuse adds up all `gen_ai.usage.*` and `llm.token_count.*`, unknown ones too, unless a total is
there. It counts the tokens of a text itself, and prices them, where a span names a model and has
neither usage nor cost, whatever the span's kind (seen on 4.16).
"""

from __future__ import annotations

import json
import math

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.common.open_span import number_of
from sidelight.otlp.span import AttributeValue

_GENAI = "gen_ai.usage."
_OPENINFERENCE = "llm.token_count."
_KNOWN = frozenset(
    {
        c.INPUT_TOKENS,
        c.OUTPUT_TOKENS,
        c.CACHED_TOKENS,
        c.CACHE_WRITE_TOKENS,
        c.REASONING_TOKENS,
        c.LLM_REASONING_TOKENS,
        c.TOTAL_TOKENS,
        c.USAGE_COST,
    }
)
TOTALS = (c.TOTAL_TOKENS, "llm.token_count.total", "llm.usage.total_tokens")
"""Names of the sum of input and output tokens; the first one that is there counts."""

_MODELS = (
    c.REQUEST_MODEL,
    c.RESPONSE_MODEL,
    "langfuse.observation.model.name",
    "ai.model.id",
    "llm.response.model",
    "llm.model_name",
    "model",
)
"""Names of which Langfuse takes the model of a span."""
# How Langfuse's SDK says that a call failed.
_LANGFUSE_LEVEL = "langfuse.observation.level"
# Calls of a model happen below these, in spans of their own.
_KINDS_ABOVE_CALLS = frozenset({"CHAIN", "AGENT", "TOOL", "RETRIEVER"})

_MAX_TOKENS = 2**63 - 1
_COUNTED = {
    c.INPUT_TOKENS: "input",
    c.OUTPUT_TOKENS: "output",
    c.CACHED_TOKENS: "input_cached_tokens",
    c.CACHE_WRITE_TOKENS: "input_cache_creation",
    c.REASONING_TOKENS: "output_reasoning_tokens",
}
"""Langfuse's names of counts by ours."""


def settle_counts(span: EditableSpan, *, states_usage: bool = False) -> None:
    """Leave names that Langfuse counts right, and a total where they do not add up.

    With `states_usage` the counts stand in Langfuse's own attribute as well.
    """
    if c.INPUT_TOKENS not in span and c.OUTPUT_TOKENS not in span:
        return
    total = next((name for name in TOTALS if name in span), None)
    is_sum = total is None or span.tell(_is_sum, total, c.INPUT_TOKENS, c.OUTPUT_TOKENS)
    if total is not None and total != c.TOTAL_TOKENS:
        span.move(total, c.TOTAL_TOKENS)
    for name in TOTALS[1:]:
        span.remove(name)
    move_unknown(span)
    # Those that are left of OpenInference's, Phoenix shows under these names alone.
    has_details = any(
        name.startswith(_OPENINFERENCE) and name not in _KNOWN for name in span.names()
    )
    if is_sum:
        span.remove(c.TOTAL_TOKENS)
        if has_details:
            span.derive(c.TOTAL_TOKENS, _total, c.INPUT_TOKENS, c.OUTPUT_TOKENS)
    if states_usage:
        span.derive_missing(c.LANGFUSE_USAGE, _langfuse_usage, *_COUNTED, c.TOTAL_TOKENS)


def _sum(asked: AttributeValue, answered: AttributeValue) -> float:
    return (number_of(asked) or 0) + (number_of(answered) or 0)


def _is_sum(total: AttributeValue, asked: AttributeValue, answered: AttributeValue) -> bool:
    """Whether a total says no more than its parts."""
    told = number_of(total)
    return told is None or told == _sum(asked, answered)


def _total(asked: AttributeValue, answered: AttributeValue) -> int | None:
    parts = _sum(asked, answered)
    return min(int(parts), _MAX_TOKENS) if math.isfinite(parts) else None


def move_unknown(span: EditableSpan) -> None:
    """Take counts that Langfuse would add to the total out of `gen_ai.usage.*`."""
    for name in span.names():
        if name.startswith(_GENAI) and name not in _KNOWN:
            span.move(name, c.OTHER_USAGE + name.removeprefix(_GENAI))


def _langfuse_usage(*values: AttributeValue) -> str | None:
    """The counts as Langfuse names them: each token in one of them only."""
    *counted, total = [number_of(value) or 0 for value in values]
    if not all(math.isfinite(count) for count in counted):
        return None
    counts = dict(zip(_COUNTED.values(), counted, strict=True))
    asked, answered = counts["input"], counts["output"]
    counts["input"] = asked - counts["input_cached_tokens"] - counts["input_cache_creation"]
    counts["output"] = answered - counts["output_reasoning_tokens"]
    counts["total"] = total or asked + answered
    return json.dumps({name: max(0, int(count)) for name, count in counts.items() if count})


def say_free(span: EditableSpan) -> None:
    """Say that a span costs nothing, where Langfuse would price its texts.

    That is a span with a model and without usage that failed, or whose calls are other spans.
    """
    failed = span.is_error or span.text(_LANGFUSE_LEVEL) == "ERROR"
    if span.text(c.SPAN_KIND) not in _KINDS_ABOVE_CALLS and not failed:
        return
    if not any(name in span for name in _MODELS):
        return
    if any(name.startswith((_GENAI, _OPENINFERENCE)) for name in span.names()):
        return
    for name in (c.LANGFUSE_COST, c.LANGFUSE_USAGE):
        if name in span and span.tell(_is_said, name):
            return
    span.set(c.LANGFUSE_COST, c.LANGFUSE_NO_COST)


def _is_said(details: AttributeValue) -> bool:
    """Whether usage or cost details hold anything: an empty object tells Langfuse nothing."""
    return details not in (None, "", "{}", "null")
