"""`input.value` and `output.value`, which are all that some views of the backends show."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import Beginning, EditableSpan, Made, Plain
from sidelight.collector.processors.normalise import documents, messages
from sidelight.collector.processors.normalise.payload import Pairs
from sidelight.otlp.span import AttributeValue


def display(span: EditableSpan) -> None:
    """input.value and output.value for those who read only these."""
    kind = span.text(c.SPAN_KIND)
    if kind in ("LLM", "EMBEDDING"):
        _display_messages(span)
    elif kind == "TOOL":
        # The backends show what a tool was given and returned by these names.
        span.copy(c.TOOL_ARGUMENTS, c.INPUT_VALUE)
        span.copy(c.TOOL_RESULT, c.OUTPUT_VALUE)
    elif kind == "RETRIEVER":
        _display_documents(span)
    for name, mime_type in (
        (c.INPUT_VALUE, c.INPUT_MIME_TYPE),
        (c.OUTPUT_VALUE, c.OUTPUT_MIME_TYPE),
    ):
        if name in span:
            span.derive_missing(mime_type, _mime_type, name)


def _mime_type(value: AttributeValue) -> str | None:
    return messages.mime_type(value) if isinstance(value, str) and value else None


def _display_messages(span: EditableSpan) -> None:
    if c.SYSTEM_INSTRUCTIONS in span and span.tell(_are_rules_repeated, _ASKED, _RULES):
        # OpenLIT tells the system prompt twice, and Phoenix would show it twice.
        span.remove(c.SYSTEM_INSTRUCTIONS)
    if c.OUTPUT_VALUE not in span and span.derive(
        c.OUTPUT_VALUE, _shown_answers, _ANSWERED, Beginning("llm.output_messages.")
    ):
        span.set_missing(c.OUTPUT_MIME_TYPE, messages.JSON)
    if c.INPUT_VALUE not in span and span.derive(
        c.INPUT_VALUE, _shown_questions, _ASKED, Beginning("llm.input_messages."), _RULES
    ):
        span.set_missing(c.INPUT_MIME_TYPE, messages.JSON)
    if c.INPUT_MESSAGES in span:
        span.derive(c.INPUT_MESSAGES, _completed_questions, _ASKED)
    if c.OUTPUT_MESSAGES in span:
        span.derive(c.OUTPUT_MESSAGES, _completed_answers, _ANSWERED)


def _parsed(text: AttributeValue) -> list[Any]:
    return messages.parsed(text) if isinstance(text, str) else []


# Parsed once for all that is made of them.
_ASKED = Made(_parsed, (c.INPUT_MESSAGES,))
_ANSWERED = Made(_parsed, (c.OUTPUT_MESSAGES,))
_RULES = Made(_parsed, (c.SYSTEM_INSTRUCTIONS,))


def _are_rules_repeated(asked: list[Any], rules: list[Any]) -> bool:
    return bool(rules) and messages.says_first(asked, rules)


def _completed_questions(asked: list[Any]) -> str | None:
    completed = messages.completed(asked, are_answers=False)
    return None if completed is None else messages.dumps(completed)


def _completed_answers(answers: list[Any]) -> str | None:
    completed = messages.completed(answers, are_answers=True)
    return None if completed is None else messages.dumps(completed)


def _shown_answers(answers: list[Any], pairs: Pairs) -> str | None:
    listed = answers or messages.from_openinference(messages.nested(pairs), are_answers=True)
    return messages.displayed(listed, are_answers=True)


def _shown_questions(asked: list[Any], pairs: Pairs, rules: list[Any]) -> str | None:
    listed = asked or messages.from_openinference(messages.nested(pairs), are_answers=False)
    if rules:
        listed = [{"role": "system", "parts": rules}, *listed]
    return messages.displayed(listed, are_answers=False)


def _display_documents(span: EditableSpan) -> None:
    if c.INPUT_VALUE in span:
        span.derive_missing(c.RETRIEVAL_QUERY, _query, c.INPUT_VALUE)
    span.copy(c.RETRIEVAL_QUERY, c.INPUT_VALUE)
    if c.RETRIEVAL_DOCUMENTS in span:
        span.copy(c.RETRIEVAL_DOCUMENTS, c.OUTPUT_VALUE)
        if span.tell(_are_scored, _LISTED) is False:
            flattened = Made(documents.flattened, (_LISTED,))
            # The names are part of a plan, the values are those of each span.
            for name in span.tell(tuple, flattened):
                span.derive_missing(name, _of_name(name), flattened)
            span.remove(c.RETRIEVAL_DOCUMENTS)
        return
    # OpenInference's own form is what Phoenix reads; only Langfuse needs something.
    native = Beginning(documents.FLATTENED)
    if span.tell(_has_documents, native):
        span.derive_missing(c.OUTPUT_VALUE, _native, native)
        return
    are_scored = span.tell(_are_scored, _LISTED_OUTPUT)
    if are_scored:
        span.derive_missing(c.RETRIEVAL_DOCUMENTS, messages.dumps, _LISTED_OUTPUT)
    elif are_scored is not None:
        flattened = Made(documents.flattened, (_LISTED_OUTPUT,))
        for name in span.tell(tuple, flattened):
            span.derive_missing(name, _of_name(name), flattened)


def _listed(output: AttributeValue) -> list[documents.Document]:
    return documents.from_output(output) if isinstance(output, str) else []


_LISTED = Made(_listed, (c.RETRIEVAL_DOCUMENTS,))
_LISTED_OUTPUT = Made(_listed, (c.OUTPUT_VALUE,))


def _are_scored(listed: list[documents.Document]) -> bool | None:
    """Whether all documents have a score; None if there are none."""
    return documents.all_scored(listed) if listed else None


@lru_cache(maxsize=1024)
def _of_name(name: str) -> Callable[[dict[str, Plain]], Plain | None]:
    """A function that is the same each time, so that it can be part of a plan."""
    return lambda flattened: flattened.get(name)


def _query(asked: AttributeValue) -> str | None:
    return messages.query_of(asked) if isinstance(asked, str) else None


def _has_documents(pairs: Pairs) -> bool:
    return bool(documents.from_flattened(pairs))


def _native(pairs: Pairs) -> str:
    return messages.dumps(documents.from_flattened(pairs))
