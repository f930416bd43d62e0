"""Prompts and answers as span attributes, in the forms that Langfuse and Phoenix display.

Both show `gen_ai.input.messages` and `gen_ai.output.messages` (JSON in the parts schema) as a
chat, and `input.value` and `output.value` in their tables. Of images, audio and token ids only
the type is captured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.content import Clipper
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.routes import Dialect

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
# A message of a request or an answer: role, parts, finish reason.
Message = tuple[str, list[dict[str, Any]], str | None]


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
    messages = [_message(item, clipper) for item in reversed(given) if isinstance(item, Mapping)]
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
    return messages + [
        ("assistant", _parts(item.get("content"), clipper), reason)
        for item in _mappings(body.get("output"))
        if item.get("type") == "message"
    ]


def _streamed_answer(answer: AnswerFacts, clipper: Clipper) -> list[Message]:
    texts: dict[int, list[str]] = {}
    for event in answer.events:
        for choice in _mappings(event.get("choices")):
            delta = choice.get("delta")
            text = delta.get("content") if isinstance(delta, Mapping) else choice.get("text")
            if isinstance(text, str):
                texts.setdefault(int(choice.get("index") or 0), []).append(text)
        delta = event.get("delta")
        if event.get("type") == "response.output_text.delta" and isinstance(delta, str):
            texts.setdefault(0, []).append(delta)
        elif event.get("type") == "content_block_delta" and isinstance(delta, Mapping):
            texts.setdefault(0, []).append(str(delta.get("text") or ""))
    reasons = answer.finish_reasons
    return [
        (
            "assistant",
            _parts("".join(pieces), clipper),
            reasons[position] if position < len(reasons) else "stop",
        )
        for position, (_, pieces) in enumerate(sorted(texts.items()))
    ]


def _message(item: Mapping[str, Any], clipper: Clipper) -> Message:
    parts = _parts(item.get("content"), clipper)
    for call in _mappings(item.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, Mapping):
            parts.append(
                {
                    "type": "tool_call",
                    "id": str(call.get("id") or ""),
                    "name": str(function.get("name") or ""),
                    "arguments": clipper.text(str(function.get("arguments") or "")),
                }
            )
    return str(item.get("role") or "assistant"), parts, None


def _parts(content: object, clipper: Clipper) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": clipper.text(content)}]
    parts: list[dict[str, Any]] = []
    for part in _mappings(content):
        text = part.get("text")
        if isinstance(text, str):
            parts.append({"type": "text", "content": clipper.text(text)})
        else:
            parts.append({"type": str(part.get("type") or "unknown")})
    return parts


def _parts_schema(messages: list[Message], *, finish: bool = False) -> list[dict[str, Any]]:
    # Phoenix drops the whole list if one output message has no finish reason.
    return [
        {"role": role, "parts": parts, **({"finish_reason": reason} if finish else {})}
        for role, parts, reason in messages
    ]


def _value(messages: list[Message], *, as_text: bool) -> tuple[str, str]:
    plain = [
        {"role": role, "content": "".join(part.get("content", "") for part in parts)}
        for role, parts, _ in messages
    ]
    if as_text and len(plain) == 1:
        return plain[0]["content"], _TEXT
    return _dump(plain[0] if len(plain) == 1 and plain[0]["role"] == "assistant" else plain), _JSON


def _mappings(value: object) -> Iterable[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
