"""`input.value` and `output.value`, which are all that some views of the backends show."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import Beginning, EditableSpan, Made, Plain
from sidelight.collector.processors.normalise import documents, messages
from sidelight.collector.processors.normalise.messages import schema
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


_ASKED_IN_PIECES, _ANSWERED_IN_PIECES = "llm.input_messages.", "llm.output_messages."


def _display_messages(span: EditableSpan) -> None:
    # Each answer is asked for only where it may be other than none: asking costs more than the
    # look at the names, of which a plan keeps the result.
    has_asked, has_rules = c.INPUT_MESSAGES in span, c.SYSTEM_INSTRUCTIONS in span
    has_answered = c.OUTPUT_MESSAGES in span
    if has_asked and has_rules and span.tell(_are_rules_repeated, _ASKED, _RULES):
        # OpenLIT tells the system prompt twice, and Phoenix would show it twice.
        span.remove(c.SYSTEM_INSTRUCTIONS)
    if (has_answered or _has_any(span, _ANSWERED_IN_PIECES)) and span.derive_missing(
        c.OUTPUT_VALUE, _shown_answers, _ANSWERED, Beginning(_ANSWERED_IN_PIECES)
    ):
        span.set_missing(c.OUTPUT_MIME_TYPE, messages.JSON)
    if (has_asked or has_rules or _has_any(span, _ASKED_IN_PIECES)) and span.derive_missing(
        c.INPUT_VALUE, _shown_questions, _ASKED, Beginning(_ASKED_IN_PIECES), _RULES
    ):
        span.set_missing(c.INPUT_MIME_TYPE, messages.JSON)
    if has_asked:
        span.derive(c.INPUT_MESSAGES, _completed_questions, _ASKED)
    if has_answered:
        span.derive(c.OUTPUT_MESSAGES, _completed_answers, _ANSWERED)


def _has_any(span: EditableSpan, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in span.names())


class Parsed:
    """Messages, or the parts of a system prompt, read once for all that is made of them."""

    __slots__ = ("_listed", "_text", "usual")

    def __init__(self, text: str, usual: list[Any] | None) -> None:
        self.usual = usual
        """Typed by `schema`, where that can read them; else None."""
        self._text = text
        self._listed: list[Any] | None = None

    def listed(self) -> list[Any]:
        """What the JSON says, empty if it is no list."""
        if self._listed is None:
            self._listed = messages.parsed(self._text)
        return self._listed


_NOTHING = Parsed("[]", [])


def _parsed_messages(text: AttributeValue) -> Parsed:
    return Parsed(text, schema().read_messages(text)) if isinstance(text, str) else _NOTHING


def _parsed_rules(text: AttributeValue) -> Parsed:
    return Parsed(text, schema().read_rules(text)) if isinstance(text, str) else _NOTHING


# Parsed once for all that is made of them.
_ASKED = Made(_parsed_messages, (c.INPUT_MESSAGES,))
_ANSWERED = Made(_parsed_messages, (c.OUTPUT_MESSAGES,))
_RULES = Made(_parsed_rules, (c.SYSTEM_INSTRUCTIONS,))


def _are_rules_repeated(asked: Parsed, rules: Parsed) -> bool:
    if asked.usual is not None and rules.usual is not None:
        return bool(rules.usual) and schema().says_first(asked.usual, rules.usual)
    listed = rules.listed()
    return bool(listed) and messages.says_first(asked.listed(), listed)


def _completed_questions(asked: Parsed) -> str | None:
    if asked.usual is not None:
        return None
    completed = messages.completed(asked.listed(), are_answers=False)
    return None if completed is None else messages.dumps(completed)


def _completed_answers(answers: Parsed) -> str | None:
    if answers.usual is not None and schema().are_finished(answers.usual):
        return None
    completed = messages.completed(answers.listed(), are_answers=True)
    return None if completed is None else messages.dumps(completed)


def _shown_answers(answers: Parsed, pairs: Pairs) -> str | None:
    if answers.usual:
        return schema().displayed(answers.usual, [], are_answers=True)
    listed = answers.listed()
    if not listed:
        pieces = schema().from_pieces(pairs, "message.", "user", are_answers=True)
        if pieces:
            return schema().displayed(pieces, [], are_answers=True)
        listed = messages.from_openinference(messages.nested(pairs), are_answers=True)
    return messages.displayed(listed, are_answers=True)


def _shown_questions(asked: Parsed, pairs: Pairs, rules: Parsed) -> str | None:
    if asked.usual and rules.usual is not None:
        return schema().displayed(asked.usual, rules.usual, are_answers=False)
    listed = asked.listed()
    if not listed:
        pieces = schema().from_pieces(pairs, "message.", "user", are_answers=False)
        if pieces and rules.usual is not None:
            return schema().displayed(pieces, rules.usual, are_answers=False)
        listed = messages.from_openinference(messages.nested(pairs), are_answers=False)
    if rules.listed():
        listed = [{"role": "system", "parts": rules.listed()}, *listed]
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
    if _has_any(span, documents.FLATTENED) and span.tell(bool, _NATIVE):
        span.derive_missing(c.OUTPUT_VALUE, messages.dumps, _NATIVE)
        return
    are_scored = span.tell(_are_scored, _LISTED_OUTPUT) if c.OUTPUT_VALUE in span else None
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
_NATIVE = Made(documents.from_flattened, (Beginning(documents.FLATTENED),))


def _are_scored(listed: list[documents.Document]) -> bool | None:
    """Whether all documents have a score; None if there are none."""
    return documents.all_scored(listed) if listed else None


@lru_cache(maxsize=1024)
def _of_name(name: str) -> Callable[[dict[str, Plain]], Plain | None]:
    """A function that is the same each time, so that it can be part of a plan."""
    return lambda flattened: flattened.get(name)


def _query(asked: AttributeValue) -> str | None:
    return messages.query_of(asked) if isinstance(asked, str) else None
