"""Messages and documents out of the attributes and events where older spans carry them."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import Beginning, EditableSpan, Fact
from sidelight.collector.processors.normalise import documents, messages
from sidelight.otlp.span import AttributeValue, attributes

Pairs = list[tuple[str, AttributeValue]]
"""The rest of a name behind a common beginning, and the value."""

_PROMPT, _COMPLETION = "gen_ai.prompt.", "gen_ai.completion."
# Instrumentors have names of their own for the same.
_FIRST_TOKEN_EVENTS = frozenset({"First Token Stream Event", "gen_ai.content.completion.chunk"})
_CONTENT_EVENTS = {
    "gen_ai.content.prompt": ("gen_ai.prompt", c.INPUT_VALUE),
    "gen_ai.content.completion": ("gen_ai.completion", c.OUTPUT_VALUE),
}


def read_indexed_messages(span: EditableSpan) -> None:
    """`gen_ai.prompt.N.*` and `gen_ai.completion.N.*` of older OpenLLMetry."""
    for prefix, name, written in (
        (_PROMPT, c.INPUT_MESSAGES, _written_prompt),
        (_COMPLETION, c.OUTPUT_MESSAGES, _written_completion),
    ):
        paths = [
            path for path in span.names() if path.startswith(prefix) and _is_indexed(path, prefix)
        ]
        if not paths:
            continue
        indexed = Beginning(prefix)
        # Where there are messages already, those in pieces only go.
        if span.derive_missing(name, written, indexed) or span.tell(_has_messages, indexed):
            for path in paths:
                span.remove(path)


def _is_indexed(path: str, prefix: str) -> bool:
    return path[len(prefix) : len(prefix) + 1].isdecimal()


def _written_prompt(pairs: Pairs) -> str | None:
    return _written(pairs, "user", are_answers=False)


def _written_completion(pairs: Pairs) -> str | None:
    return _written(pairs, "assistant", are_answers=True)


def _written(pairs: Pairs, role: str, *, are_answers: bool) -> str | None:
    pieces = messages.schema().from_pieces(_indexed(pairs), "", role, are_answers=are_answers)
    if pieces:
        return messages.schema().written(pieces)
    listed = _listed(pairs, are_answers=are_answers)
    return messages.dumps(listed) if listed else None


def _has_messages(pairs: Pairs) -> bool:
    return bool(_listed(pairs, are_answers=False))


def _listed(pairs: Pairs, *, are_answers: bool) -> list[messages.Message]:
    return messages.from_indexed(messages.nested(_indexed(pairs)), are_answers=are_answers)


def _indexed(pairs: Pairs) -> Pairs:
    return [pair for pair in pairs if pair[0][:1].isdecimal()]


def read_events(span: EditableSpan) -> None:
    """Messages, documents and the first token out of span events; what was read is removed."""
    if not span.has_events:
        return
    span.derive_missing(c.TIME_TO_FIRST_TOKEN, _itself, _FIRST_TOKEN)
    # What follows needs `proto`, which no plan can repeat: only few spans carry content in events.
    if not span.tell(bool, _HAS_PAYLOAD):
        return
    asked: list[messages.Message] = []
    answered: list[messages.Message] = []
    retrieved: list[documents.Document] = []
    read: list[int] = []
    for index, event in enumerate(span.proto.events):
        if event.name in _FIRST_TOKEN_EVENTS:
            # Its time is all it says, and is a fact above.
            continue
        carried = attributes(event.attributes)
        if event.name in _CONTENT_EVENTS:
            key, name = _CONTENT_EVENTS[event.name]
            text = carried.get(key)
            if isinstance(text, str):
                span.set_missing(name, text)
                read.append(index)
        elif event.name in documents.RESULT_EVENTS and carried:
            retrieved.append(documents.from_event(carried))
            read.append(index)
        elif carried and (message := messages.from_event(event.name, carried)) is not None:
            (answered if message[0] else asked).append(message[1])
            read.append(index)
    set_messages(span, c.INPUT_MESSAGES, asked)
    set_messages(span, c.OUTPUT_MESSAGES, answered)
    set_documents(span, retrieved)
    # From the end, so that the other numbers stay right.
    for index in reversed(read):
        del span.proto.events[index]
    if read:
        span.touch()


def _first_token_seconds(span: Span) -> float | None:
    for event in span.events:
        if event.name in _FIRST_TOKEN_EVENTS:
            # Clocks that were set back make it negative.
            return max(0, event.time_unix_nano - span.start_time_unix_nano) / 1e9
    return None


def _has_payload(span: Span) -> bool:
    """Whether an event may carry messages or documents."""
    return any(
        event.name in _CONTENT_EVENTS
        or event.name in documents.RESULT_EVENTS
        or messages.is_event(event.name)
        for event in span.events
    )


_FIRST_TOKEN = Fact(_first_token_seconds)
_HAS_PAYLOAD = Fact(_has_payload)


def _itself(value: float | None) -> float | None:
    return value


def set_messages(span: EditableSpan, name: str, listed: list[messages.Message]) -> None:
    """Write messages where there are none; empty lists say nothing."""
    if listed and name not in span:
        span.set(name, messages.dumps(listed))


def set_documents(span: EditableSpan, listed: list[documents.Document]) -> None:
    """Write documents where there are none, in the form that keeps them all."""
    if not listed:
        return
    written = messages.dumps(listed)
    if documents.all_scored(listed):
        span.set_missing(c.RETRIEVAL_DOCUMENTS, written)
    else:
        for name, value in documents.flattened(listed).items():
            span.set_missing(name, value)
    span.set_missing(c.OUTPUT_VALUE, written)
