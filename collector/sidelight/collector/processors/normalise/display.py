"""`input.value` and `output.value`, which are all that some views of the backends show."""

from __future__ import annotations

from typing import Any

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.normalise import documents, messages
from sidelight.collector.processors.normalise.payload import set_documents


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
        if mime_type not in span and (text := span.text(name)):
            span.set(mime_type, messages.mime_type(text))


def _display_messages(span: EditableSpan) -> None:
    asked = _messages(span, c.INPUT_MESSAGES)
    rules = messages.parsed(span.text(c.SYSTEM_INSTRUCTIONS))
    if rules and messages.says_first(asked, rules):
        # OpenLIT tells the system prompt twice, and Phoenix would show it twice.
        span.remove(c.SYSTEM_INSTRUCTIONS)
        rules = []
    answers = _messages(span, c.OUTPUT_MESSAGES)
    for name, listed in ((c.INPUT_MESSAGES, asked), (c.OUTPUT_MESSAGES, answers)):
        completed = messages.completed(listed, are_answers=name == c.OUTPUT_MESSAGES)
        if completed is not None:
            span.set(name, messages.dumps(completed))
    if c.OUTPUT_VALUE not in span:
        if not answers:
            nested = messages.nested(span.beginning("llm.output_messages."))
            answers = messages.from_openinference(nested, are_answers=True)
        if shown := messages.displayed(answers, are_answers=True):
            span.set(c.OUTPUT_VALUE, shown)
            span.set_missing(c.OUTPUT_MIME_TYPE, messages.JSON)
    if c.INPUT_VALUE not in span:
        if not asked:
            nested = messages.nested(span.beginning("llm.input_messages."))
            asked = messages.from_openinference(nested, are_answers=False)
        if rules:
            asked = [{"role": "system", "parts": rules}, *asked]
        if shown := messages.displayed(asked, are_answers=False):
            span.set(c.INPUT_VALUE, shown)
            span.set_missing(c.INPUT_MIME_TYPE, messages.JSON)


def _messages(span: EditableSpan, name: str) -> list[Any]:
    parsed = span.parsed.get(name)
    return messages.parsed(span.text(name)) if parsed is None else parsed


def _display_documents(span: EditableSpan) -> None:
    asked = span.text(c.INPUT_VALUE)
    span.set_missing(c.RETRIEVAL_QUERY, messages.query_of(asked))
    span.copy(c.RETRIEVAL_QUERY, c.INPUT_VALUE)
    if c.RETRIEVAL_DOCUMENTS in span:
        listed = documents.from_output(span.text(c.RETRIEVAL_DOCUMENTS))
        span.copy(c.RETRIEVAL_DOCUMENTS, c.OUTPUT_VALUE)
        if listed and not documents.all_scored(listed):
            span.remove(c.RETRIEVAL_DOCUMENTS)
            set_documents(span, listed)
        return
    native = documents.from_flattened(span.beginning(documents.FLATTENED))
    if native:
        span.set_missing(c.OUTPUT_VALUE, messages.dumps(native))
    else:
        set_documents(span, documents.from_output(span.text(c.OUTPUT_VALUE)))
