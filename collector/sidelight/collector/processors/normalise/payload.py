"""Messages and documents out of the attributes and events where older spans carry them."""

from __future__ import annotations

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.normalise import documents, messages
from sidelight.otlp.span import attributes

_FIRST_TOKEN_EVENTS = frozenset({"First Token Stream Event", "gen_ai.content.completion.chunk"})
_CONTENT_EVENTS = {
    "gen_ai.content.prompt": ("gen_ai.prompt", c.INPUT_VALUE),
    "gen_ai.content.completion": ("gen_ai.completion", c.OUTPUT_VALUE),
}


def read_indexed_messages(span: EditableSpan) -> None:
    """`gen_ai.prompt.N.*` and `gen_ai.completion.N.*` of older OpenLLMetry."""
    for prefix, name, are_answers in (
        ("gen_ai.prompt.", c.INPUT_MESSAGES, False),
        ("gen_ai.completion.", c.OUTPUT_MESSAGES, True),
    ):
        pairs = [pair for pair in span.beginning(prefix) if pair[0][:1].isdecimal()]
        listed = messages.from_indexed(messages.nested(pairs), are_answers=are_answers)
        if listed:
            set_messages(span, name, listed)
            for path, _ in pairs:
                span.remove(prefix + path)


def read_events(span: EditableSpan) -> None:
    """Messages, documents and the first token out of span events; what was read is removed."""
    asked: list[messages.Message] = []
    answered: list[messages.Message] = []
    retrieved: list[documents.Document] = []
    read: list[int] = []
    for index, event in enumerate(span.proto.events):
        if event.name in _FIRST_TOKEN_EVENTS:
            if c.TIME_TO_FIRST_TOKEN not in span:
                nanoseconds = event.time_unix_nano - span.proto.start_time_unix_nano
                span.set(c.TIME_TO_FIRST_TOKEN, max(0, nanoseconds) / 1e9)
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
    for index in reversed(read):
        del span.proto.events[index]
    span.changed |= bool(read)


def set_messages(span: EditableSpan, name: str, listed: list[messages.Message]) -> None:
    """Write messages where there are none; empty lists say nothing."""
    if listed and name not in span:
        span.set(name, messages.dumps(listed))
        span.parsed[name] = listed


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
