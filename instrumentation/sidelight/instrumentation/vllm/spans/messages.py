"""Prompts and answers as span attributes, in the forms that Langfuse and Phoenix display.

Both show `gen_ai.input.messages` and `gen_ai.output.messages` (JSON in the parts schema) as a
chat, and `input.value` and `output.value` in their tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.content import Clipper
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.parse.finish import finish_reason
from sidelight.instrumentation.vllm.parse.values import mapping_of, mappings_of
from sidelight.instrumentation.vllm.routes import Dialect
from sidelight.instrumentation.vllm.spans.parts import Message, Part, dump, message_of, parts_of
from sidelight.instrumentation.vllm.spans.prompts import asked

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
MAX_RESULTS: Final = 256
# What is told of a result of scoring, ranking or classifying: its numbers and its label.
_RESULT_KEYS: Final = ("index", "score", "relevance_score", "label", "probs")
_RESULTS_OF: Final = frozenset({"score", "relevance_score", "probs"})


def content_attributes(
    dialect: Dialect, request: RequestFacts, answer: AnswerFacts, settings: Settings
) -> dict[str, Any]:
    """The content attributes of a server span. Empty unless `settings` allow text.

    Empty attributes are left out. `CONTENT_TRUNCATED` is set if any text was cut.
    """
    if not settings.captures_text:
        return {}
    attributes: dict[str, Any] = {}
    clippers = Clipper(settings), Clipper(settings), Clipper(settings)
    body = request.body or {}
    as_text = dialect in ("completion", "other", "realtime")
    if prompts := asked(dialect, body, clippers[0]):
        attributes[names.INPUT_MESSAGES] = dump(_parts_schema(prompts))
        attributes[names.INPUT_VALUE], attributes[names.INPUT_MIME_TYPE] = _value(prompts, as_text)
    if answered := _answered(answer, clippers[1]):
        attributes[names.OUTPUT_MESSAGES] = dump(_parts_schema(answered, finish=True))
        attributes[names.OUTPUT_VALUE], attributes[names.OUTPUT_MIME_TYPE] = _value(
            answered, as_text
        )
    elif results := _results(answer.body or {}):
        attributes[names.OUTPUT_VALUE] = clippers[1].text(dump(results))
        attributes[names.OUTPUT_MIME_TYPE] = _JSON
    if isinstance(tools := body.get("tools"), list) and tools:
        attributes[names.TOOL_DEFINITIONS] = clippers[2].text(dump(tools))
    if request.is_cut or answer.is_cut or any(clipper.truncated for clipper in clippers):
        attributes[names.CONTENT_TRUNCATED] = True
    return attributes


def _answered(answer: AnswerFacts, clipper: Clipper) -> list[Message]:
    body = answer.body or {}
    messages: list[Message] = []
    reason = (answer.finish_reasons or ("stop",))[0]
    for choice in mappings_of(body.get("choices")):
        given = choice.get("message")
        if not isinstance(given, Mapping):
            given = {"role": "assistant", "content": _text_of(choice)}
        parts = _parts(given, clipper)
        told = finish_reason(choice.get("finish_reason")) or "stop"
        messages.append((str(given.get("role") or "assistant"), parts, told))
    if body.get("type") == "message" or isinstance(body.get("message"), Mapping):
        content = mapping_of(body.get("message")) or {"content": body.get("content")}
        messages.append(("assistant", _parts(content, clipper), reason))
    if isinstance(text := body.get("text"), str):
        messages.append(("assistant", parts_of(text, clipper), reason))
    return messages + _answered_items(body, reason, clipper)


def _parts(given: Mapping[str, Any], clipper: Clipper) -> list[Part]:
    return [part for _, parts, _ in message_of(given, clipper) for part in parts]


def _text_of(choice: Mapping[str, Any]) -> object:
    ids = choice.get("token_ids")
    if "text" not in choice and isinstance(ids, list) and ids:
        return f"[{len(ids)} token ids]"
    return choice.get("text")


def _answered_items(body: Mapping[str, Any], reason: str, clipper: Clipper) -> list[Message]:
    """Items of Responses: reasoning and calls are beside the message that they belong to."""
    items = list(mappings_of(body.get("output")))
    # The last items are the answer, so they get the byte budget first.
    parts = [_parts(item, clipper) for item in reversed(items)][::-1]
    messages: list[Message] = []
    before: list[Part] = []
    for item, said in zip(items, parts, strict=True):
        before += said
        if item.get("type") == "message":
            messages.append(("assistant", before, reason))
            before = []
    return messages + ([("assistant", before, reason)] if before else [])


def _results(body: Mapping[str, Any]) -> list[dict[str, Any]] | Mapping[str, Any]:
    """Scores, ranks and classes: small, and what the call was made for. Never vectors."""
    if isinstance(decided := body.get("answers"), Mapping):
        return decided
    results = []
    for key in ("results", "data"):
        for result in list(mappings_of(body.get(key)))[:MAX_RESULTS]:
            told = {name: result[name] for name in _RESULT_KEYS if name in result}
            if any(name in told for name in _RESULTS_OF):
                results.append(told)
    return results


def _parts_schema(messages: list[Message], *, finish: bool = False) -> list[dict[str, Any]]:
    # Phoenix drops the whole list if one output message has no finish reason.
    return [
        {"role": role, "parts": parts, **({"finish_reason": reason} if finish else {})}
        for role, parts, reason in messages
    ]


def _value(messages: list[Message], as_text: bool) -> tuple[str, str]:
    plain = [_plain(role, parts) for role, parts, _ in messages]
    if as_text and len(plain) == 1 and isinstance(plain[0]["content"], str):
        return plain[0]["content"], _TEXT
    return dump(plain[0] if len(plain) == 1 and plain[0]["role"] == "assistant" else plain), _JSON


def _plain(role: str, parts: list[Part]) -> dict[str, Any]:
    """A message in the shape of OpenAI's API, with reasoning as Langfuse shows it."""
    message: dict[str, Any] = {"role": role}
    texts = [str(part["content"]) for part in parts if part["type"] == "text"]
    message["content"] = (
        [{"type": "text", "text": text} for text in texts] if len(texts) > 1 else "".join(texts)
    )
    thinking = [part["content"] for part in parts if part["type"] == "reasoning"]
    if thinking:
        message["thinking"] = [{"type": "thinking", "content": text} for text in thinking]
    calls = []
    for part in parts:
        if part["type"] == "tool_call":
            function = {"name": part["name"], "arguments": part["arguments"]}
            calls.append({"id": part["id"], "type": "function", "function": function})
        elif part["type"] == "tool_call_response":
            message |= {"tool_call_id": part["id"], "content": part["response"]}
    if calls:
        message["tool_calls"] = calls
    return message
