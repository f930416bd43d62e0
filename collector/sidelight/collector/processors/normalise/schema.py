"""Messages in the parts schema, read and shown without a dict for each of their objects.

Most instrumentors write such messages. `messages` reads all others; of these it makes the same, and
takes two to three times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from sidelight.collector.processors.normalise.parts import Part, text_of

# As everyone counts: others may name one message twice.
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,3}")
_MAX_PATH_LENGTH: Final = 64


# What they say beside this is not displayed. Without `gc` Python's collector of garbage has less to
# look at: nothing that is read from JSON holds itself.
class TextPart(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    """A text."""

    content: str


class ReasoningPart(msgspec.Struct, gc=False, tag_field="type", tag="reasoning"):
    """What a model thought."""

    content: str


class CallPart(msgspec.Struct, gc=False, tag_field="type", tag="tool_call"):
    """A call of a tool."""

    id: Any = None
    name: Any = None
    arguments: Any = None


class ResponsePart(msgspec.Struct, gc=False, tag_field="type", tag="tool_call_response"):
    """What a tool returned."""

    id: Any = None
    response: Any = None


class SchemaMessage(msgspec.Struct, gc=False):
    """A message. Of one that was read, only whether it has a `finish_reason` counts."""

    role: str
    parts: list[TextPart | ReasoningPart | CallPart | ResponsePart]
    finish_reason: Any = UNSET


class ShownMessage(msgspec.Struct, gc=False):
    """A message in the shape of OpenAI's API, with its names in the order they are written in."""

    role: str
    tool_call_id: Any = UNSET
    content: str | list[Part] = ""
    thinking: list[Part] | UnsetType = UNSET
    tool_calls: list[Part] | UnsetType = UNSET


_decoded_messages = msgspec.json.Decoder(list[SchemaMessage]).decode
_decoded_rules = msgspec.json.Decoder(list[TextPart | ReasoningPart]).decode
_encoded = msgspec.json.Encoder().encode


def read_messages(text: str) -> list[SchemaMessage] | None:
    """The messages of an attribute; None if they have anything that `messages` must look at."""
    try:
        listed = _decoded_messages(text)
    except (ValueError, RecursionError):
        return None
    for message in listed:
        parts = message.parts
        # Such a message is shown as several.
        if len(parts) > 1 and any(type(part) is ResponsePart for part in parts):
            return None
    return listed


def read_rules(text: str) -> list[TextPart | ReasoningPart] | None:
    """The parts of a system prompt; None if they have anything that `messages` must look at."""
    try:
        return _decoded_rules(text)
    except (ValueError, RecursionError):
        return None


def from_pieces(
    pairs: Iterable[tuple[str, Any]], prefix: str, role: str, *, are_answers: bool
) -> list[SchemaMessage] | None:
    """Messages of `0.role`, `0.content`, …, with `prefix` behind the number; `role` is the usual.

    None if there is anything but texts, which `messages` must look at.
    """
    held: dict[int, dict[str, str]] = {}
    for path, value in pairs:
        place = _place(path, prefix) if len(path) <= _MAX_PATH_LENGTH else None
        if place is None or type(value) is not str:
            return None
        number, name = place
        held.setdefault(number, {})[name] = value
    listed = []
    for number in sorted(held):
        named = held[number]
        content = named.get("content", "")
        told = named.get("role") or role
        # A response, and a list of parts.
        if told == "tool" or content[:1] == "[":
            return None
        message = SchemaMessage(told, [TextPart(content)] if content else [])
        if are_answers:
            message.finish_reason = named.get("finish_reason", "")
        listed.append(message)
    return listed


@lru_cache(maxsize=1024)
def _place(path: str, prefix: str) -> tuple[int, str] | None:
    number, _, name = path.partition(f".{prefix}")
    if name not in ("role", "content", "finish_reason") or not _NUMBER.fullmatch(number):
        return None
    return int(number), name


def written(messages: list[SchemaMessage]) -> str:
    """Messages as JSON in the parts schema."""
    return _encoded(messages).decode()


def displayed(messages: list[SchemaMessage], rules: list[Any], *, are_answers: bool) -> str:
    """`messages.displayed` of the rules, as a system prompt, and the messages; one at least."""
    shown = [_shown(message.role, message.parts) for message in messages]
    if rules:
        shown.insert(0, _shown("system", rules))
    return _encoded(shown[0] if are_answers and len(shown) == 1 else shown).decode()


def says_first(messages: list[SchemaMessage], rules: list[Any]) -> bool:
    """`messages.says_first`."""
    if not messages or messages[0].role != "system":
        return False
    return _shown("", messages[0].parts).content == _shown("", rules).content


def are_finished(messages: list[SchemaMessage]) -> bool:
    """Whether each has a finish reason, if only an empty one."""
    return all(message.finish_reason is not UNSET for message in messages)


def _shown(role: str, parts: list[Any]) -> ShownMessage:
    if len(parts) == 1 and type(parts[0]) is TextPart:
        return ShownMessage(role, UNSET, parts[0].content)
    shown = ShownMessage(role)
    texts: list[Part] = []
    thinking: list[Part] = []
    calls: list[Part] = []
    for part in parts:
        if type(part) is TextPart:
            texts.append({"type": "text", "text": part.content})
        elif type(part) is ReasoningPart:
            thinking.append({"type": "thinking", "content": part.content})
        elif type(part) is CallPart:
            calls.append(_called(part))
        else:
            shown.tool_call_id = part.id
            shown.content = text_of(part.response)
    if texts:
        shown.content = texts[0]["text"] if len(texts) == 1 else texts
    if thinking:
        shown.thinking = thinking
    if calls:
        shown.tool_calls = calls
    return shown


def _called(part: CallPart) -> Part:
    arguments = part.arguments
    # Text in OpenAI's API, an object in the parts schema.
    written = arguments if isinstance(arguments, str) else _encoded(arguments).decode()
    return {
        "id": part.id,
        "type": "function",
        "function": {"name": part.name, "arguments": written},
    }
