"""Foreign spans made canonical: names by the tables, then what both backends need for display."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.normalise import documents, messages
from sidelight.collector.processors.normalise.spellings import (
    COUNTS,
    LISTS,
    NO_OPERATIONS,
    OTHER_SEARCHES,
    SPELLINGS,
    VECTOR_DATABASES,
    VLLM_OPERATIONS,
)
from sidelight.collector.processors.normalise.tables import Table, target
from sidelight.instrumentation.vectordb.registry import OPERATION_KINDS
from sidelight.otlp.remember import remembered
from sidelight.otlp.span import attributes

Step = Callable[[EditableSpan], None]

_ENGINE_SPAN = "llm_request"
_FIRST_TOKEN_EVENTS = frozenset({"First Token Stream Event", "gen_ai.content.completion.chunk"})
_CONTENT_EVENTS = {
    "gen_ai.content.prompt": ("gen_ai.prompt", c.INPUT_VALUE),
    "gen_ai.content.completion": ("gen_ai.completion", c.OUTPUT_VALUE),
}
_LONGEST_TTFT_SECONDS = 86_400
# The engine's ids begin with the kind of the call: chatcmpl-…, cmpl-…, resp_….
_ID_KIND = re.compile(r"[a-z]+")
_WHOLE_NUMBER = re.compile(r"\d+")


def normalise(table: Table, span: EditableSpan) -> None:
    """Make a span canonical, as its table says."""
    if table.is_engine and span.proto.name != _ENGINE_SPAN:
        return
    _rename(table, span)
    if not table.is_engine:
        _kind(table, span)
    for step in _ENGINE_STEPS if table.is_engine else _CLIENT_STEPS:
        step(span)


# ── names and spellings ──────────────────────────────────────────────────────────────────


def _rename(table: Table, span: EditableSpan) -> None:
    moves = [(name, to) for name in span.names() if (to := target(table, name)) is not None]
    # Of two foreign names for the same, the one that stands first in the table wins.
    for name, to in sorted(moves, key=lambda move: _rank(table, move[0])):
        span.move(name, to)
        if span.get(to) == "":  # OpenLIT writes what it does not know as an empty text
            span.remove(to)
    for name, to in table.copies.items():
        span.copy(name, to)
    if c.INPUT_TOKENS in span or c.OUTPUT_TOKENS in span:
        for name in table.drops:
            span.remove(name)
    for name, spell in SPELLINGS.items():
        text = span.text(name)
        if text and (right := spell(text)) != text:
            span.set(name, right)
    if span.text(c.OPERATION) in NO_OPERATIONS:
        span.remove(c.OPERATION)
    for name in LISTS:
        if text := span.text(name):
            span.set(name, [text])
    for name in COUNTS:
        if text := span.text(name):
            numbers = _WHOLE_NUMBER.findall(text)
            if len(numbers) == 1:
                span.set(name, int(numbers[0]))


@remembered(maxsize=4096)
def _rank(table: Table, name: str) -> int:
    moves = list(table.moves)
    return moves.index(name) if name in table.moves else len(moves)


# ── what kind of work it was ─────────────────────────────────────────────────────────────


def _kind(table: Table, span: EditableSpan) -> None:
    _database(span)
    operation = span.text(c.OPERATION)
    kind = (
        span.text(c.SPAN_KIND)
        or c.KIND_OF_OPERATION.get(operation, "")
        or table.kinds.get(span.text(table.kind_name), "")
    )
    if not kind and (c.REQUEST_MODEL in span or c.RESPONSE_MODEL in span):
        kind = "LLM"
    span.set_missing(c.SPAN_KIND, kind)
    span.set_missing(c.OPERATION, c.OPERATION_OF_KIND.get(kind))
    span.copy(c.RESPONSE_MODEL, c.REQUEST_MODEL)
    span.copy(c.CONVERSATION_ID, c.SESSION_ID)


def _database(span: EditableSpan) -> None:
    system = span.text(c.DB_SYSTEM)
    if system not in VECTOR_DATABASES:
        return
    # OpenLLMetry's Qdrant spans tell what was done only in their name: qdrant.query_points.
    prefix, _, method = span.proto.name.partition(".")
    if prefix.lower() == system:
        span.set_missing(c.DB_OPERATION, method)
    operation = span.text(c.DB_OPERATION)
    kind = OPERATION_KINDS.get(system, {}).get(operation)
    # The description decides on the names it has: Milvus's `query` reads by a filter, Chroma's
    # compares vectors.
    is_search = kind == "search" if kind is not None else operation in OTHER_SEARCHES
    if is_search or c.RETRIEVAL_TOP_K in span:
        span.set_missing(c.OPERATION, "retrieval")


# ── what was said ────────────────────────────────────────────────────────────────────────


def _indexed_messages(span: EditableSpan) -> None:
    """`gen_ai.prompt.N.*` and `gen_ai.completion.N.*` of older OpenLLMetry."""
    for prefix, name, are_answers in (
        ("gen_ai.prompt.", c.INPUT_MESSAGES, False),
        ("gen_ai.completion.", c.OUTPUT_MESSAGES, True),
    ):
        pairs = [pair for pair in span.beginning(prefix) if pair[0][:1].isdecimal()]
        found = messages.from_indexed(messages.nested(pairs), are_answers=are_answers)
        if found:
            _set_messages(span, name, found)
            for path, _ in pairs:
                span.remove(prefix + path)


def _events(span: EditableSpan) -> None:
    """Messages, documents and the first token out of span events; what was read is removed."""
    asked: list[messages.Message] = []
    answered: list[messages.Message] = []
    found: list[documents.Document] = []
    read: list[int] = []
    for index, event in enumerate(span.proto.events):
        if event.name in _FIRST_TOKEN_EVENTS:
            if c.TIME_TO_FIRST_TOKEN not in span:
                nanoseconds = event.time_unix_nano - span.proto.start_time_unix_nano
                span.set(c.TIME_TO_FIRST_TOKEN, max(0, nanoseconds) / 1e9)
            continue
        held = attributes(event.attributes)
        if event.name in _CONTENT_EVENTS:
            key, name = _CONTENT_EVENTS[event.name]
            text = held.get(key)
            if isinstance(text, str):
                span.set_missing(name, text)
                read.append(index)
        elif event.name in documents.RESULT_EVENTS and held:
            found.append(documents.from_event(held))
            read.append(index)
        elif held and (message := messages.from_event(event.name, held)) is not None:
            (answered if message[0] else asked).append(message[1])
            read.append(index)
    _set_messages(span, c.INPUT_MESSAGES, asked)
    _set_messages(span, c.OUTPUT_MESSAGES, answered)
    _set_documents(span, found)
    for index in reversed(read):
        del span.proto.events[index]
    span.changed |= bool(read)


def _display(span: EditableSpan) -> None:
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
    if answers and (finished := messages.finished(answers)) is not None:
        span.set(c.OUTPUT_MESSAGES, messages.dumps(finished))
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
    found = span.parsed.get(name)
    return messages.parsed(span.text(name)) if found is None else found


def _set_messages(span: EditableSpan, name: str, found: list[messages.Message]) -> None:
    if found and name not in span:
        span.set(name, messages.dumps(found))
        span.parsed[name] = found


def _display_documents(span: EditableSpan) -> None:
    asked = span.text(c.INPUT_VALUE)
    span.set_missing(c.RETRIEVAL_QUERY, messages.query_of(asked))
    span.copy(c.RETRIEVAL_QUERY, c.INPUT_VALUE)
    if c.RETRIEVAL_DOCUMENTS in span:
        listed = documents.from_output(span.text(c.RETRIEVAL_DOCUMENTS))
        span.copy(c.RETRIEVAL_DOCUMENTS, c.OUTPUT_VALUE)
        if listed and not documents.all_scored(listed):
            span.remove(c.RETRIEVAL_DOCUMENTS)
            _set_documents(span, listed)
        return
    native = documents.from_flattened(span.beginning(documents.FLATTENED))
    if native:
        span.set_missing(c.OUTPUT_VALUE, messages.dumps(native))
    else:
        _set_documents(span, documents.from_output(span.text(c.OUTPUT_VALUE)))


def _set_documents(span: EditableSpan, found: list[documents.Document]) -> None:
    if not found:
        return
    written = messages.dumps(found)
    if documents.all_scored(found):
        span.set_missing(c.RETRIEVAL_DOCUMENTS, written)
    else:
        for name, value in documents.flattened(found).items():
            span.set_missing(name, value)
    span.set_missing(c.OUTPUT_VALUE, written)


# ── times, tokens, errors ────────────────────────────────────────────────────────────────


def _reasoning(span: EditableSpan) -> None:
    """Langfuse reads the one name, Phoenix the other."""
    span.copy(c.REASONING_TOKENS, c.LLM_REASONING_TOKENS)


def _first_token(span: EditableSpan) -> None:
    """Langfuse knows a time to the first token only from the moment it came."""
    if span.get(c.REQUEST_STREAM) is False:  # OpenLIT writes the duration there
        span.remove(c.TIME_TO_FIRST_TOKEN)
        span.remove(c.TIME_PER_OUTPUT_TOKEN)
        return
    seconds = span.number(c.TIME_TO_FIRST_TOKEN)
    if span.text(c.SPAN_KIND) != "LLM" or seconds is None:
        return
    if 0 < seconds < _LONGEST_TTFT_SECONDS:
        moment = span.proto.start_time_unix_nano / 1e9 + seconds
        span.set_missing(
            c.LANGFUSE_COMPLETION_START, datetime.fromtimestamp(moment, UTC).isoformat()
        )


def _error(span: EditableSpan) -> None:
    """The exception as status message: Langfuse drops span events."""
    status = span.proto.status
    if status.code != Status.STATUS_CODE_ERROR or status.message:
        return
    for event in span.proto.events:
        if event.name == "exception":
            held = attributes(event.attributes)
            texts = [held.get("exception.type"), held.get("exception.message")]
            status.message = ": ".join(text for text in texts if isinstance(text, str) and text)
            span.changed = True


# ── the engine's own span ────────────────────────────────────────────────────────────────


def _engine(span: EditableSpan) -> None:
    """vLLM's own `llm_request` span (`--otlp-traces-endpoint`).

    A span with a parent becomes a CHAIN that carries the server's own counts only: the
    client's span above is the LLM span, and both Langfuse and Phoenix add up gen_ai.usage.*
    over a trace. A root span is the LLM span itself.
    """
    is_llm = not span.proto.parent_span_id
    span.set_missing(c.SPAN_KIND, "LLM" if is_llm else "CHAIN")
    call = _ID_KIND.match(span.text(c.ENGINE_REQUEST_ID))
    span.set_missing(c.OPERATION, VLLM_OPERATIONS.get(call.group() if call else ""))
    span.set_missing(c.PROVIDER, c.PROVIDER_VLLM)
    span.copy(c.RESPONSE_MODEL, c.REQUEST_MODEL)
    decode, tokens = span.number(c.DECODE_TIME), span.get(c.SERVED_OUTPUT_TOKENS)
    if decode is not None and isinstance(tokens, int) and tokens > 1:
        span.set_missing(c.TIME_PER_OUTPUT_TOKEN, decode / (tokens - 1))
    if is_llm:
        span.copy(c.SERVED_INPUT_TOKENS, c.INPUT_TOKENS)
        span.copy(c.SERVED_OUTPUT_TOKENS, c.OUTPUT_TOKENS)


_ENGINE_STEPS: tuple[Step, ...] = (_engine, _first_token, _error)
_CLIENT_STEPS: tuple[Step, ...] = (
    _indexed_messages,
    _events,
    _display,
    _reasoning,
    _first_token,
    _error,
)
