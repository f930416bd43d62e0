"""`input.value` and `output.value`, which are all that some views of the backends show."""

from __future__ import annotations

from typing import Any

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import Beginning, EditableSpan
from sidelight.collector.processors.normalise import documents, messages
from sidelight.collector.processors.normalise.payload import Pairs, set_documents
from sidelight.otlp.span import AttributeValue


def display(span: EditableSpan) -> None:
    """input.value and output.value for those who read only these."""
    kind = span.text(c.SPAN_KIND)
    if kind in ("LLM", "EMBEDDING"):
        _display_messages(span)
    elif kind == "TOOL":
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
    if c.SYSTEM_INSTRUCTIONS in span and span.tell(
        _are_rules_repeated, c.INPUT_MESSAGES, c.SYSTEM_INSTRUCTIONS
    ):
        # OpenLIT tells the system prompt twice, and Phoenix would show it twice.
        span.remove(c.SYSTEM_INSTRUCTIONS)
    if c.OUTPUT_VALUE not in span and span.derive(
        c.OUTPUT_VALUE, _shown_answers, c.OUTPUT_MESSAGES, Beginning("llm.output_messages.")
    ):
        span.set_missing(c.OUTPUT_MIME_TYPE, messages.JSON)
    if c.INPUT_VALUE not in span and span.derive(
        c.INPUT_VALUE,
        _shown_questions,
        c.INPUT_MESSAGES,
        Beginning("llm.input_messages."),
        c.SYSTEM_INSTRUCTIONS,
    ):
        span.set_missing(c.INPUT_MIME_TYPE, messages.JSON)
    if c.INPUT_MESSAGES in span:
        span.derive(c.INPUT_MESSAGES, _completed_questions, c.INPUT_MESSAGES)
    if c.OUTPUT_MESSAGES in span:
        span.derive(c.OUTPUT_MESSAGES, _completed_answers, c.OUTPUT_MESSAGES)


def _parsed(text: AttributeValue) -> list[Any]:
    return messages.parsed(text) if isinstance(text, str) else []


def _are_rules_repeated(asked: AttributeValue, rules: AttributeValue) -> bool:
    listed = _parsed(rules)
    return bool(listed) and messages.says_first(_parsed(asked), listed)


def _completed_questions(asked: AttributeValue) -> str | None:
    completed = messages.completed(_parsed(asked), are_answers=False)
    return None if completed is None else messages.dumps(completed)


def _completed_answers(answers: AttributeValue) -> str | None:
    completed = messages.completed(_parsed(answers), are_answers=True)
    return None if completed is None else messages.dumps(completed)


def _shown_answers(answers: AttributeValue, pairs: Pairs) -> str | None:
    listed = _parsed(answers) or messages.from_openinference(
        messages.nested(pairs), are_answers=True
    )
    return messages.displayed(listed, are_answers=True)


def _shown_questions(asked: AttributeValue, pairs: Pairs, rules: AttributeValue) -> str | None:
    listed = _parsed(asked) or messages.from_openinference(
        messages.nested(pairs), are_answers=False
    )
    if parts := _parsed(rules):
        listed = [{"role": "system", "parts": parts}, *listed]
    return messages.displayed(listed, are_answers=False)


def _display_documents(span: EditableSpan) -> None:
    if c.INPUT_VALUE in span:
        span.derive_missing(c.RETRIEVAL_QUERY, _query, c.INPUT_VALUE)
    span.copy(c.RETRIEVAL_QUERY, c.INPUT_VALUE)
    if c.RETRIEVAL_DOCUMENTS in span:
        span.copy(c.RETRIEVAL_DOCUMENTS, c.OUTPUT_VALUE)
        if span.tell(_scored, c.RETRIEVAL_DOCUMENTS) is False:
            listed = documents.from_output(span.text(c.RETRIEVAL_DOCUMENTS))
            span.remove(c.RETRIEVAL_DOCUMENTS)
            set_documents(span, listed)
        return
    flattened = Beginning(documents.FLATTENED)
    if span.tell(_has_documents, flattened):
        span.derive_missing(c.OUTPUT_VALUE, _native, flattened)
    elif (are_scored := span.tell(_scored, c.OUTPUT_VALUE)) is not None:
        if are_scored:
            span.derive_missing(c.RETRIEVAL_DOCUMENTS, _written_documents, c.OUTPUT_VALUE)
        else:
            set_documents(span, documents.from_output(span.text(c.OUTPUT_VALUE)))


def _query(asked: AttributeValue) -> str | None:
    return messages.query_of(asked) if isinstance(asked, str) else None


def _scored(output: AttributeValue) -> bool | None:
    """Whether all documents of an output have a score; None if it has none."""
    listed = documents.from_output(output) if isinstance(output, str) else []
    return documents.all_scored(listed) if listed else None


def _has_documents(pairs: Pairs) -> bool:
    return bool(documents.from_flattened(pairs))


def _native(pairs: Pairs) -> str:
    return messages.dumps(documents.from_flattened(pairs))


def _written_documents(output: str) -> str:
    return messages.dumps(documents.from_output(output))
