"""Foreign spans made canonical: names by the tables, then what both backends need for display."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import Draft
from sidelight.collector.processors.normalise import documents, messages
from sidelight.collector.processors.normalise.spellings import (
    COUNTS,
    LISTS,
    NO_OPERATIONS,
    SEARCHES,
    SPELLINGS,
    VECTOR_DATABASES,
    VLLM_OPERATIONS,
)
from sidelight.collector.processors.normalise.tables import Table, target
from sidelight.otlp.remember import remembered
from sidelight.otlp.span import attributes

Step = Callable[[Draft], None]

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


def normalise(table: Table, draft: Draft) -> None:
    """Make a span canonical, as its table says."""
    if table.is_engine and draft.span.name != _ENGINE_SPAN:
        return
    _rename(table, draft)
    if not table.is_engine:
        _kind(table, draft)
    for step in _ENGINE_STEPS if table.is_engine else _CLIENT_STEPS:
        step(draft)


# ── names and spellings ──────────────────────────────────────────────────────────────────


def _rename(table: Table, draft: Draft) -> None:
    moves = [(name, to) for name in draft.names() if (to := target(table, name)) is not None]
    # Of two foreign names for the same, the one that stands first in the table wins.
    for name, to in sorted(moves, key=lambda move: _rank(table, move[0])):
        draft.move(name, to)
        if draft.get(to) == "":  # OpenLIT writes what it does not know as an empty text
            draft.remove(to)
    for name, to in table.copies.items():
        draft.copy(name, to)
    if c.INPUT_TOKENS in draft or c.OUTPUT_TOKENS in draft:
        for name in table.drops:
            draft.remove(name)
    for name, spell in SPELLINGS.items():
        text = draft.text(name)
        if text and (right := spell(text)) != text:
            draft.set(name, right)
    if draft.text(c.OPERATION) in NO_OPERATIONS:
        draft.remove(c.OPERATION)
    for name in LISTS:
        if text := draft.text(name):
            draft.set(name, [text])
    for name in COUNTS:
        if text := draft.text(name):
            numbers = _WHOLE_NUMBER.findall(text)
            if len(numbers) == 1:
                draft.set(name, int(numbers[0]))


@remembered(maxsize=4096)
def _rank(table: Table, name: str) -> int:
    moves = list(table.moves)
    return moves.index(name) if name in table.moves else len(moves)


# ── what kind of work it was ─────────────────────────────────────────────────────────────


def _kind(table: Table, draft: Draft) -> None:
    _database(draft)
    operation = draft.text(c.OPERATION)
    kind = (
        draft.text(c.SPAN_KIND)
        or c.KIND_OF_OPERATION.get(operation, "")
        or table.kinds.get(draft.text(table.kind_name), "")
    )
    if not kind and (c.REQUEST_MODEL in draft or c.RESPONSE_MODEL in draft):
        kind = "LLM"
    draft.set_missing(c.SPAN_KIND, kind)
    draft.set_missing(c.OPERATION, c.OPERATION_OF_KIND.get(kind))
    draft.copy(c.RESPONSE_MODEL, c.REQUEST_MODEL)
    draft.copy(c.CONVERSATION_ID, c.SESSION_ID)


def _database(draft: Draft) -> None:
    system = draft.text(c.DB_SYSTEM)
    if system not in VECTOR_DATABASES:
        return
    # OpenLLMetry's Qdrant spans tell what was done only in their name: qdrant.query_points.
    prefix, _, method = draft.span.name.partition(".")
    if prefix.lower() == system:
        draft.set_missing(c.DB_OPERATION, method)
    if draft.text(c.DB_OPERATION) in SEARCHES or c.RETRIEVAL_TOP_K in draft:
        draft.set_missing(c.OPERATION, "retrieval")


# ── what was said ────────────────────────────────────────────────────────────────────────


def _indexed_messages(draft: Draft) -> None:
    """`gen_ai.prompt.N.*` and `gen_ai.completion.N.*` of older OpenLLMetry."""
    for prefix, name, are_answers in (
        ("gen_ai.prompt.", c.INPUT_MESSAGES, False),
        ("gen_ai.completion.", c.OUTPUT_MESSAGES, True),
    ):
        pairs = [pair for pair in draft.beginning(prefix) if pair[0][:1].isdecimal()]
        found = messages.from_indexed(messages.nested(pairs), are_answers=are_answers)
        if found:
            _set_messages(draft, name, found)
            for path, _ in pairs:
                draft.remove(prefix + path)


def _events(draft: Draft) -> None:
    """Messages, documents and the first token out of span events; what was read is removed."""
    span = draft.span
    asked: list[messages.Message] = []
    answered: list[messages.Message] = []
    found: list[documents.Document] = []
    read: list[int] = []
    for index, event in enumerate(span.events):
        if event.name in _FIRST_TOKEN_EVENTS:
            if c.TIME_TO_FIRST_TOKEN not in draft:
                nanoseconds = event.time_unix_nano - span.start_time_unix_nano
                draft.set(c.TIME_TO_FIRST_TOKEN, max(0, nanoseconds) / 1e9)
            continue
        held = attributes(event.attributes)
        if event.name in _CONTENT_EVENTS:
            key, name = _CONTENT_EVENTS[event.name]
            text = held.get(key)
            if isinstance(text, str):
                draft.set_missing(name, text)
                read.append(index)
        elif event.name in documents.RESULT_EVENTS and held:
            found.append(documents.from_event(held))
            read.append(index)
        elif held and (message := messages.from_event(event.name, held)) is not None:
            (answered if message[0] else asked).append(message[1])
            read.append(index)
    _set_messages(draft, c.INPUT_MESSAGES, asked)
    _set_messages(draft, c.OUTPUT_MESSAGES, answered)
    _set_documents(draft, found)
    for index in reversed(read):
        del span.events[index]
    draft.changed |= bool(read)


def _display(draft: Draft) -> None:
    """input.value and output.value for those who read only these."""
    kind = draft.text(c.SPAN_KIND)
    if kind in ("LLM", "EMBEDDING"):
        _display_messages(draft)
    elif kind == "TOOL":
        draft.copy(c.TOOL_ARGUMENTS, c.INPUT_VALUE)
        draft.copy(c.TOOL_RESULT, c.OUTPUT_VALUE)
    elif kind == "RETRIEVER":
        _display_documents(draft)
    for name, mime_type in (
        (c.INPUT_VALUE, c.INPUT_MIME_TYPE),
        (c.OUTPUT_VALUE, c.OUTPUT_MIME_TYPE),
    ):
        if mime_type not in draft and (text := draft.text(name)):
            draft.set(mime_type, messages.mime_type(text))


def _display_messages(draft: Draft) -> None:
    asked = _messages(draft, c.INPUT_MESSAGES)
    rules = messages.parsed(draft.text(c.SYSTEM_INSTRUCTIONS))
    if rules and messages.says_first(asked, rules):
        # OpenLIT tells the system prompt twice, and Phoenix would show it twice.
        draft.remove(c.SYSTEM_INSTRUCTIONS)
        rules = []
    answers = _messages(draft, c.OUTPUT_MESSAGES)
    if answers and (finished := messages.finished(answers)) is not None:
        draft.set(c.OUTPUT_MESSAGES, messages.dumps(finished))
    if c.OUTPUT_VALUE not in draft:
        if not answers:
            nested = messages.nested(draft.beginning("llm.output_messages."))
            answers = messages.from_openinference(nested, are_answers=True)
        if shown := messages.displayed(answers, are_answers=True):
            draft.set(c.OUTPUT_VALUE, shown)
            draft.set_missing(c.OUTPUT_MIME_TYPE, messages.JSON)
    if c.INPUT_VALUE not in draft:
        if not asked:
            nested = messages.nested(draft.beginning("llm.input_messages."))
            asked = messages.from_openinference(nested, are_answers=False)
        if rules:
            asked = [{"role": "system", "parts": rules}, *asked]
        if shown := messages.displayed(asked, are_answers=False):
            draft.set(c.INPUT_VALUE, shown)
            draft.set_missing(c.INPUT_MIME_TYPE, messages.JSON)


def _messages(draft: Draft, name: str) -> list[Any]:
    found = draft.parsed.get(name)
    return messages.parsed(draft.text(name)) if found is None else found


def _set_messages(draft: Draft, name: str, found: list[messages.Message]) -> None:
    if found and name not in draft:
        draft.set(name, messages.dumps(found))
        draft.parsed[name] = found


def _display_documents(draft: Draft) -> None:
    asked = draft.text(c.INPUT_VALUE)
    draft.set_missing(c.RETRIEVAL_QUERY, messages.query_of(asked))
    draft.copy(c.RETRIEVAL_QUERY, c.INPUT_VALUE)
    if c.RETRIEVAL_DOCUMENTS in draft:
        listed = documents.from_output(draft.text(c.RETRIEVAL_DOCUMENTS))
        draft.copy(c.RETRIEVAL_DOCUMENTS, c.OUTPUT_VALUE)
        if listed and not documents.all_scored(listed):
            draft.remove(c.RETRIEVAL_DOCUMENTS)
            _set_documents(draft, listed)
        return
    native = documents.from_flattened(draft.beginning(documents.FLATTENED))
    if native:
        draft.set_missing(c.OUTPUT_VALUE, messages.dumps(native))
    else:
        _set_documents(draft, documents.from_output(draft.text(c.OUTPUT_VALUE)))


def _set_documents(draft: Draft, found: list[documents.Document]) -> None:
    if not found:
        return
    written = messages.dumps(found)
    if documents.all_scored(found):
        draft.set_missing(c.RETRIEVAL_DOCUMENTS, written)
    else:
        for name, value in documents.flattened(found).items():
            draft.set_missing(name, value)
    draft.set_missing(c.OUTPUT_VALUE, written)


# ── times, tokens, errors ────────────────────────────────────────────────────────────────


def _reasoning(draft: Draft) -> None:
    """Langfuse reads the one name, Phoenix the other."""
    draft.copy(c.REASONING_TOKENS, c.LLM_REASONING_TOKENS)


def _first_token(draft: Draft) -> None:
    """Langfuse knows a time to the first token only from the moment it came."""
    if draft.get(c.REQUEST_STREAM) is False:  # OpenLIT writes the duration there
        draft.remove(c.TIME_TO_FIRST_TOKEN)
        draft.remove(c.TIME_PER_OUTPUT_TOKEN)
        return
    seconds = draft.number(c.TIME_TO_FIRST_TOKEN)
    if draft.text(c.SPAN_KIND) != "LLM" or seconds is None:
        return
    if 0 < seconds < _LONGEST_TTFT_SECONDS:
        moment = draft.span.start_time_unix_nano / 1e9 + seconds
        draft.set_missing(
            c.LANGFUSE_COMPLETION_START, datetime.fromtimestamp(moment, UTC).isoformat()
        )


def _error(draft: Draft) -> None:
    """The exception as status message: Langfuse drops span events."""
    status = draft.span.status
    if status.code != Status.STATUS_CODE_ERROR or status.message:
        return
    for event in draft.span.events:
        if event.name == "exception":
            held = attributes(event.attributes)
            texts = [held.get("exception.type"), held.get("exception.message")]
            status.message = ": ".join(text for text in texts if isinstance(text, str) and text)
            draft.changed = True


# ── the engine's own span ────────────────────────────────────────────────────────────────


def _engine(draft: Draft) -> None:
    """vLLM's own `llm_request` span (`--otlp-traces-endpoint`).

    A span with a parent becomes a CHAIN that carries the server's own counts only: the
    client's span above is the LLM span, and both Langfuse and Phoenix add up gen_ai.usage.*
    over a trace. A root span is the LLM span itself.
    """
    is_llm = not draft.span.parent_span_id
    draft.set_missing(c.SPAN_KIND, "LLM" if is_llm else "CHAIN")
    call = _ID_KIND.match(draft.text(c.ENGINE_REQUEST_ID))
    draft.set_missing(c.OPERATION, VLLM_OPERATIONS.get(call.group() if call else ""))
    draft.set_missing(c.PROVIDER, c.PROVIDER_VLLM)
    draft.copy(c.RESPONSE_MODEL, c.REQUEST_MODEL)
    decode, tokens = draft.number(c.DECODE_TIME), draft.get(c.SERVED_OUTPUT_TOKENS)
    if decode is not None and isinstance(tokens, int) and tokens > 1:
        draft.set_missing(c.TIME_PER_OUTPUT_TOKEN, decode / (tokens - 1))
    if is_llm:
        draft.copy(c.SERVED_INPUT_TOKENS, c.INPUT_TOKENS)
        draft.copy(c.SERVED_OUTPUT_TOKENS, c.OUTPUT_TOKENS)


_ENGINE_STEPS: tuple[Step, ...] = (_engine, _first_token, _error)
_CLIENT_STEPS: tuple[Step, ...] = (
    _indexed_messages,
    _events,
    _display,
    _reasoning,
    _first_token,
    _error,
)
