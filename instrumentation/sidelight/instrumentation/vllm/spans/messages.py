"""Prompts and answers as span attributes, in the forms that Langfuse and Phoenix display.

Both show `gen_ai.input.messages` and `gen_ai.output.messages` (JSON in the parts schema) as a
chat, and `input.value` and `output.value` in their tables. Of images, audio and token ids only
the type is captured, which a text in brackets names, since Phoenix leaves such parts out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.content import Clipper
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse import (
    MAX_NAME_CHARACTERS,
    AnswerFacts,
    RequestFacts,
)
from sidelight.instrumentation.vllm.routes import Dialect

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
# Where chat messages and their deltas have the reasoning, by version of vLLM.
_REASONING: Final = ("reasoning", "reasoning_content")
_REASONING_EVENTS: Final = (
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
)
# A client can write anything as the type of a part.
MAX_TYPE_CHARACTERS: Final = 64
Part = dict[str, Any]
# A message of a request or an answer: role, parts, finish reason.
Message = tuple[str, list[Part], str | None]


def content_attributes(
    dialect: Dialect, request: RequestFacts, answer: AnswerFacts, settings: Settings
) -> dict[str, Any]:
    """The content attributes of a server span. Empty unless `settings` allow text.

    Empty attributes are left out. `CONTENT_TRUNCATED` is set if any text was cut.
    """
    if not settings.captures_text:
        return {}
    attributes: dict[str, Any] = {}
    clippers = Clipper(settings), Clipper(settings)
    asked = _asked(dialect, request.body or {}, clippers[0])
    answered = _answered(answer, clippers[1])
    if asked:
        attributes[names.INPUT_MESSAGES] = _dump(_parts_schema(asked))
        attributes[names.INPUT_VALUE], attributes[names.INPUT_MIME_TYPE] = _value(
            asked, as_text=dialect == "completion"
        )
    if answered:
        attributes[names.OUTPUT_MESSAGES] = _dump(_parts_schema(answered, finish=True))
        attributes[names.OUTPUT_VALUE], attributes[names.OUTPUT_MIME_TYPE] = _value(
            answered, as_text=dialect == "completion"
        )
    if any(clipper.truncated for clipper in clippers):
        attributes[names.CONTENT_TRUNCATED] = True
    return attributes


def _asked(dialect: Dialect, body: Mapping[str, Any], clipper: Clipper) -> list[Message]:
    if dialect == "completion":
        prompts = body.get("prompt")
        texts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(texts, list):
            return []
        return [("user", _parts(text, clipper), None) for text in texts if isinstance(text, str)]
    given = body.get("messages") if "messages" in body else body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list):
        return []
    for key in ("system", "instructions"):
        if body.get(key):
            given = [{"role": "system", "content": body[key]}, *given]
    if given and all(isinstance(item, str) for item in given):
        given = [{"role": "user", "content": item} for item in given]
    # The newest messages say what the request is about, so they get the byte budget first.
    messages = [
        message
        for item in reversed(given)
        if isinstance(item, Mapping)
        for message in reversed(_separated(_message(item, clipper)))
    ]
    return [message for message in reversed(messages) if message[1]]


def _answered(answer: AnswerFacts, clipper: Clipper) -> list[Message]:
    if answer.body is not None:
        return _whole_answer(answer.body, answer, clipper)
    return _streamed_answer(answer, clipper)


def _whole_answer(body: Mapping[str, Any], answer: AnswerFacts, clipper: Clipper) -> list[Message]:
    messages: list[Message] = []
    for choice in _mappings(body.get("choices")):
        given = choice.get("message") or {"role": "assistant", "content": choice.get("text")}
        if isinstance(given, Mapping):
            role, parts, _ = _message(given, clipper)
            messages.append((role, parts, choice.get("finish_reason") or "stop"))
    reason = (answer.finish_reasons or ("stop",))[0]
    if body.get("type") == "message":
        messages.append(("assistant", _parts(body.get("content"), clipper), reason))
    before: list[Part] = []
    for item in _mappings(body.get("output")):
        # Reasoning and calls are items of their own beside the message.
        role, parts, _ = _message(item, clipper)
        if item.get("type") == "message":
            messages.append((role, before + parts, reason))
            before = []
        else:
            before += parts
    return messages + ([("assistant", before, reason)] if before else [])


def _streamed_answer(answer: AnswerFacts, clipper: Clipper) -> list[Message]:
    texts: dict[int, list[str]] = {}
    thoughts: dict[int, list[str]] = {}
    for event in answer.events:
        for choice in _mappings(event.get("choices")):
            index = int(choice.get("index") or 0)
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                _collect(thoughts, index, _first_text(delta, _REASONING))
            text = delta.get("content") if isinstance(delta, Mapping) else choice.get("text")
            _collect(texts, index, text)
        delta = event.get("delta")
        if event.get("type") == "response.output_text.delta":
            _collect(texts, 0, delta)
        elif event.get("type") in _REASONING_EVENTS:
            _collect(thoughts, 0, delta)
        elif event.get("type") == "content_block_delta" and isinstance(delta, Mapping):
            _collect(texts, 0, delta.get("text"))
            _collect(thoughts, 0, delta.get("thinking"))
    reasons = answer.finish_reasons
    messages: list[Message] = []
    for position, index in enumerate(sorted({*texts, *thoughts})):
        # The answer says more than what led to it, so it gets the byte budget first.
        said = _parts("".join(texts[index]), clipper) if index in texts else []
        thought = "".join(thoughts.get(index, ()))
        if thought:
            said.insert(0, {"type": "reasoning", "content": clipper.text(thought)})
        reason = reasons[position] if position < len(reasons) else "stop"
        messages.append(("assistant", said, reason))
    return messages


def _collect(pieces: dict[int, list[str]], index: int, text: object) -> None:
    if isinstance(text, str):
        pieces.setdefault(index, []).append(text)


def _first_text(item: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    return next((text for key in keys if isinstance(text := item.get(key), str) and text), None)


def _message(item: Mapping[str, Any], clipper: Clipper) -> Message:
    role = str(item.get("role") or "assistant")
    match item.get("type"):
        case "reasoning":
            return role, _thoughts([item], clipper), None
        case "function_call":
            return role, [_call(item, item.get("call_id"), item.get("arguments"), clipper)], None
        case "function_call_output":
            return "tool", [_response(item.get("call_id"), item.get("output"), clipper)], None
    parts = _parts(item.get("content"), clipper)
    if role == "tool":
        return role, [_response(item.get("tool_call_id"), item.get("content"), clipper)], None
    if thought := _first_text(item, _REASONING):
        parts.insert(0, {"type": "reasoning", "content": clipper.text(thought)})
    for call in _mappings(item.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, Mapping):
            parts.append(_call(function, call.get("id"), function.get("arguments"), clipper))
    return role, parts, None


def _call(function: Mapping[str, Any], call_id: object, given: object, clipper: Clipper) -> Part:
    arguments = given if isinstance(given, str) else "" if given is None else _dump(given)
    return {
        "type": "tool_call",
        "id": str(call_id or "")[:MAX_NAME_CHARACTERS],
        "name": str(function.get("name") or "")[:MAX_NAME_CHARACTERS],
        "arguments": clipper.text(arguments),
    }


def _response(call_id: object, content: object, clipper: Clipper) -> Part:
    """What a tool answered: a text, or parts, of which the texts are taken."""
    texts = [content] if isinstance(content, str) else [p.get("text") for p in _mappings(content)]
    told = "\n".join(text for text in texts if isinstance(text, str))
    called = str(call_id or "")[:MAX_NAME_CHARACTERS]
    return {"type": "tool_call_response", "id": called, "response": clipper.text(told)}


def _separated(message: Message) -> list[Message]:
    """Each response of a tool as a message of its own, as the backends show them."""
    role, parts, reason = message
    responses = [part for part in parts if part["type"] == "tool_call_response"]
    if len(parts) < 2 or not responses:
        return [message]
    rest = [part for part in parts if part["type"] != "tool_call_response"]
    told: list[Message] = [("tool", [response], None) for response in responses]
    return [*told, (role, rest, reason)] if rest else told


def _parts(content: object, clipper: Clipper) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "content": clipper.text(content)}]
    parts: list[Part] = []
    for part in _mappings(content):
        kind = str(part.get("type") or "unknown")[:MAX_TYPE_CHARACTERS]
        text = part.get("text")
        if kind in ("thinking", "reasoning"):
            parts += _thoughts([part], clipper)
        elif kind == "tool_use":
            parts.append(_call(part, part.get("id"), part.get("input"), clipper))
        elif kind == "tool_result":
            parts.append(_response(part.get("tool_use_id"), part.get("content"), clipper))
        elif isinstance(text, str):
            parts.append({"type": "text", "content": clipper.text(text)})
        else:
            parts += [{"type": kind}, {"type": "text", "content": f"[{kind}]"}]
    return parts


def _thoughts(items: Iterable[Mapping[str, Any]], clipper: Clipper) -> list[Part]:
    """Reasoning as Anthropic's API and Responses have it: a text, or lists of texts."""
    texts: list[str] = []
    for item in items:
        held = [item, *_mappings(item.get("summary")), *_mappings(item.get("content"))]
        texts += [text for each in held if (text := _first_text(each, ("thinking", "text")))]
    if not texts:
        return []
    return [{"type": "reasoning", "content": clipper.text("\n".join(texts))}]


def _parts_schema(messages: list[Message], *, finish: bool = False) -> list[dict[str, Any]]:
    # Phoenix drops the whole list if one output message has no finish reason.
    return [
        {"role": role, "parts": parts, **({"finish_reason": reason} if finish else {})}
        for role, parts, reason in messages
    ]


def _value(messages: list[Message], *, as_text: bool) -> tuple[str, str]:
    plain = [_plain(role, parts) for role, parts, _ in messages]
    if as_text and len(plain) == 1 and isinstance(plain[0]["content"], str):
        return plain[0]["content"], _TEXT
    return _dump(plain[0] if len(plain) == 1 and plain[0]["role"] == "assistant" else plain), _JSON


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


def _mappings(value: object) -> Iterable[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
