"""Reads prompts and answers of other instrumentors, and writes them as the backends show them.

Phoenix takes `gen_ai.*.messages` (JSON in the parts schema), Langfuse `input.value` and
`output.value` in the shape of OpenAI's API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from operator import is_
from typing import Any, NamedTuple

from sidelight.collector.processors.normalise.parts import completed as completed_parts
from sidelight.collector.processors.normalise.parts import displayed as displayed_parts
from sidelight.collector.processors.normalise.parts import text_of

Message = dict[str, Any]
"""One message in the parts schema: role, parts, for answers finish_reason."""

JSON = "application/json"
TEXT = "text/plain"

_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


# Where a message's reasoning stands beside its content.
_REASONING = ("reasoning_content", "reasoning", "thinking")


def nested(pairs: Iterable[tuple[str, Any]]) -> list[Any]:
    """`0.role`, `0.tool_calls.1.name`, … as a list of what they describe."""
    root: dict[str, Any] = {}
    for path, value in pairs:
        *steps, last = path.split(".")
        holder = root
        for step in steps:
            inner = holder.setdefault(step, {})
            # `0` and `0.role` both have a value: the shorter name came first, and stays.
            if not isinstance(inner, dict):
                break
            holder = inner
        else:
            holder.setdefault(last, value)
    listed = _listed(root)
    return listed if isinstance(listed, list) else []


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    # Gaps in the numbers close: a limit on attributes may have taken some of them.
    if value and all(key.isdecimal() for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(inner) for key, inner in value.items()}


def from_indexed(items: Iterable[Any], *, are_answers: bool) -> list[Message]:
    """Messages of `gen_ai.prompt.N.*` and `gen_ai.completion.N.*` once `nested`."""
    role = "assistant" if are_answers else "user"
    return [
        _message(item, str(item.get("role") or role), are_answers=are_answers)
        for item in items
        if isinstance(item, Mapping)
    ]


def from_openinference(items: Iterable[Any], *, are_answers: bool) -> list[Message]:
    """Messages of `llm.input_messages.N.*` and `llm.output_messages.N.*` once `nested`."""
    messages = []
    for item in items:
        message = item.get("message") if isinstance(item, Mapping) else None
        if not isinstance(message, Mapping):
            continue
        contents = [
            dict(part)
            for content in _list(message.get("contents"))
            if isinstance(part := _mapping(content).get("message_content"), Mapping)
        ]
        calls = [
            {"id": call.get("id"), **_mapping(call.get("function"))}
            for entry in _list(message.get("tool_calls"))
            if isinstance(call := _mapping(entry).get("tool_call"), Mapping)
        ]
        # A message has a plain text or parts.
        plain = {**message, "content": message.get("content") or contents, "tool_calls": calls}
        messages.append(
            _message(plain, str(message.get("role") or "user"), are_answers=are_answers)
        )
    return messages


def from_event(name: str, attributes: Mapping[str, Any]) -> tuple[bool, Message] | None:
    """The message a span event carries, and whether it is an answer; None if it carries none."""
    if name == "gen_ai.choice":
        # Some put the message into one attribute, as JSON, and some spread it.
        message = attributes.get("message", attributes)
        if isinstance(message, str):
            message = from_json(message)
        if not isinstance(message, Mapping):
            message = {"content": message}
        reason = {"finish_reason": attributes.get("finish_reason") or message.get("finish_reason")}
        role = str(message.get("role") or "assistant")
        return True, _message({**message, **reason}, role, are_answers=True)
    role = _ROLES.get(name, "")
    if not role:
        return None
    return False, _message(attributes, str(attributes.get("role") or role), are_answers=False)


def is_event(name: str) -> bool:
    """Whether a span event of this name carries a message."""
    return name == "gen_ai.choice" or name in _ROLES


def completed(messages: list[Any], *, are_answers: bool) -> list[Any] | None:
    """Messages as Phoenix reads them; None if they are so already, or are no messages.

    It drops all answers where one lacks a finish reason, parts that the parts schema does not
    know, and all but one response of a tool.
    """
    if not all(isinstance(message, dict) for message in messages):
        return None
    made = [
        piece
        for message in messages
        for piece in _separated(_completed(message, are_answers=are_answers))
    ]
    # Most are complete, and then they are the same objects.
    is_same = len(made) == len(messages) and all(map(is_, made, messages))
    return None if is_same else made


def _completed(message: Message, *, are_answers: bool) -> Message:
    """The message itself if it needs nothing."""
    parts = message.get("parts")
    shown = completed_parts(parts) if isinstance(parts, list) else parts
    # Without one, Phoenix drops the answers.
    if are_answers and "finish_reason" not in message:
        message = {**message, "finish_reason": ""}
    return message if shown == parts else {**message, "parts": shown}


def _separated(message: Mapping[str, Any]) -> list[Any]:
    """Each response of a tool as a message of its own, then the rest.

    Phoenix and Langfuse show one of a message, and nothing beside it.
    """
    parts = message.get("parts")
    if not isinstance(parts, list) or len(parts) < 2:
        return [message]
    responses = [part for part in parts if _is_response(part)]
    if not responses:
        return [message]
    rest = [part for part in parts if not _is_response(part)]
    messages = [{**message, "role": "tool", "parts": [response]} for response in responses]
    return [*messages, {**message, "parts": rest}] if rest else messages


def _is_response(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "tool_call_response"


def displayed(messages: Iterable[Any], *, are_answers: bool) -> str | None:
    """Messages as `input.value` or `output.value`; None without any."""
    plain = [
        _plain(piece)
        for message in messages
        if isinstance(message, dict)
        for piece in _separated(_completed(message, are_answers=False))
    ]
    if not plain:
        return None
    return dumps(plain[0] if are_answers and len(plain) == 1 else plain)


def says_first(messages: list[Any], rules: list[Any]) -> bool:
    """Whether the first message is a system prompt that says what `rules` (its parts) say."""
    first = _mapping(messages[0]) if messages else {}
    if first.get("role") != "system":
        return False
    said = _plain({"parts": completed_parts(rules)})["content"]
    return bool(_plain(_completed({**first}, are_answers=False))["content"] == said)


def query_of(text: str) -> str | None:
    """What was searched for: a plain text, or the `query` of a JSON object."""
    # Most are plain text, and need no parser.
    if text[:1] not in ("{", "["):
        return text or None
    query = _mapping(from_json(text)).get("query")
    return query if isinstance(query, str) else None


def parsed(text: str) -> list[Any]:
    """Messages out of an attribute; empty if it holds none."""
    listed = from_json(text)
    return listed if isinstance(listed, list) else []


def mime_type(text: str) -> str:
    """application/json or text/plain, by what the text is."""
    if text[:1] not in ("{", "["):
        return TEXT
    return JSON if _is_json(text) else TEXT


def dumps(value: Any) -> str:
    """JSON as it is written into attributes; null for a number that is not finite."""
    try:
        return _json_codec().encode(value).decode()
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can say it
        return json.dumps(value, separators=(",", ":"), default=str)


def moment(when: datetime) -> str:
    """A time of UTC in ISO 8601, as its `isoformat` has it, in a third of the time."""
    written = _json_codec().encode(when)
    # Of JSON's quotes and the `Z` of UTC.
    return written[1:-2].decode() + "+00:00"


def _message(item: Mapping[str, Any], role: str, *, are_answers: bool) -> Message:
    content = item.get("content")
    # The parts schema has a response where OpenAI's API has a message.
    if role == "tool":
        called = item.get("tool_call_id") or item.get("id")
        parts: list[dict[str, Any]] = [
            {"type": "tool_call_response", "id": called, "response": content}
        ]
    else:
        parts = _reasoning(item) + _parts(content)
    parts += [_call(call) for call in _list(item.get("tool_calls")) if isinstance(call, Mapping)]
    message: Message = {"role": role, "parts": parts}
    if are_answers:
        message["finish_reason"] = str(item.get("finish_reason") or "")
    return message


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        # Some instrumentors write a list of parts as JSON; an answer may begin with a bracket too.
        listed = from_json(content) if content[:1] == "[" else None
        if not isinstance(listed, list) or not all(isinstance(part, dict) for part in listed):
            return [{"type": "text", "content": content}] if content else []
        content = listed
    if content is not None and not isinstance(content, list):
        return [{"type": "text", "content": text_of(content)}]
    return completed_parts(
        [
            {"type": "text", "content": part} if isinstance(part, str) else part
            for part in _list(content)
            if isinstance(part, str | Mapping)
        ]
    )


def _reasoning(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What several APIs have beside the content of a message."""
    text = next((item[name] for name in _REASONING if isinstance(item.get(name), str)), "")
    return [{"type": "reasoning", "content": text}] if text else []


def _call(item: Mapping[str, Any]) -> dict[str, Any]:
    function = _mapping(item.get("function")) or item
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        read = from_json(arguments)
        # An object in the parts schema. A model may also write what is no JSON.
        arguments = arguments if read is None else read
    return {
        "type": "tool_call",
        "id": item.get("id"),
        "name": function.get("name"),
        "arguments": arguments,
    }


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A completed message of the parts schema in the shape of OpenAI's API."""
    parts = _list(message.get("parts")) if "parts" in message else _parts(message.get("content"))
    content, thinking = displayed_parts(parts)
    plain: dict[str, Any] = {"role": message.get("role")}
    calls = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_call":
            arguments = part.get("arguments")
            # Text in OpenAI's API, an object in the parts schema.
            written = arguments if isinstance(arguments, str) else dumps(arguments)
            function = {"name": part.get("name"), "arguments": written}
            calls.append({"id": part.get("id"), "type": "function", "function": function})
        elif kind == "tool_call_response":
            plain["tool_call_id"] = part.get("id")
            content = content or text_of(part.get("response"))
    plain["content"] = content
    if thinking:
        plain["thinking"] = thinking
    if calls:
        plain["tool_calls"] = calls
    return plain


def from_json(text: str, otherwise: Any = None) -> Any:
    """What JSON says, `otherwise` if it is not valid."""
    try:
        return _json_codec().decode(text)
    except (ValueError, RecursionError):
        pass
    # It refuses what json reads: NaN, half of a surrogate pair, numbers beyond a float.
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise


def _is_json(text: str) -> bool:
    """Whether `from_json` can read it; in a third of the time, since nothing is made of it."""
    try:
        _json_codec().check(text)
    except (ValueError, RecursionError):
        return from_json(text, _is_json) is not _is_json
    return True


class _Codec(NamedTuple):
    decode: Callable[[str], Any]
    check: Callable[[str], object]
    encode: Callable[[Any], bytes]


@cache
def _json_codec() -> _Codec:
    """JSON by msgspec, which takes a third of the time of json's to read and an eighth to write.

    Imported with the first text only: an idle collector does without it.
    """
    import msgspec

    return _Codec(
        msgspec.json.Decoder().decode,
        msgspec.json.Decoder(msgspec.Raw).decode,
        msgspec.json.Encoder(enc_hook=str).encode,
    )


class Schema(NamedTuple):
    """The functions of the module `schema`."""

    read_messages: Callable[[str], list[Any] | None]
    read_rules: Callable[[str], list[Any] | None]
    from_pieces: Callable[..., list[Any] | None]
    written: Callable[[list[Any]], str]
    displayed: Callable[..., str]
    says_first: Callable[[list[Any], list[Any]], bool]
    are_finished: Callable[[list[Any]], bool]


@cache
def schema() -> Schema:
    """That module, imported with the first message only, as msgspec above."""
    from sidelight.collector.processors.normalise import schema as module

    return Schema(
        module.read_messages,
        module.read_rules,
        module.from_pieces,
        module.written,
        module.displayed,
        module.says_first,
        module.are_finished,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
