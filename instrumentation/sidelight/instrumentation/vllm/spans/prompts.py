"""What a client asked, as messages, in the shapes of all routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sidelight.instrumentation.content import Clipper
from sidelight.instrumentation.vllm.parse.values import mapping_of
from sidelight.instrumentation.vllm.routes import Dialect
from sidelight.instrumentation.vllm.spans.parts import Message, dump, message_of, parts_of

Json = Mapping[str, Any]
# A batch may have thousands of prompts, documents and texts.
MAX_TEXTS: Final = 256
_SCORED: Final = (
    ("query", "documents"), ("queries", "documents"), ("queries", "items"), ("query", "items"),
    ("text_1", "text_2"), ("data_1", "data_2"),
)  # fmt: skip


def asked(dialect: Dialect, body: Json, clipper: Clipper) -> list[Message]:
    """The messages of a request. Empty if there are none, or none that can be read."""
    messages = _READERS.get(dialect, _other)(body, clipper)
    return [message for message in messages if message[1]]


def _chat(body: Json, clipper: Clipper) -> list[Message]:
    given = body.get("messages")
    if isinstance(given, list) and given and isinstance(given[0], list):
        # A batch of chats.
        given = [item for chat in given if isinstance(chat, list) for item in chat]
    return _newest_first(_items(given), clipper)


def _messages(body: Json, clipper: Clipper) -> list[Message]:
    return _newest_first([*_system(body, "system"), *_items(body.get("messages"))], clipper)


def _responses(body: Json, clipper: Clipper) -> list[Message]:
    items = [
        *_system(body, "instructions"),
        *_items(body.get("previous_input_messages")),
        *_items(body.get("input")),
    ]
    return _newest_first(items, clipper)


def _system(body: Json, key: str) -> list[Json]:
    return [{"role": "system", "content": body[key]}] if body.get(key) else []


def _items(given: object) -> list[Json]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list):
        return []
    return [
        {"role": "user", "content": item} if isinstance(item, str) else item
        for item in given
        if isinstance(item, str | Mapping)
    ]


def _newest_first(items: list[Json], clipper: Clipper) -> list[Message]:
    # The newest messages say what the request is about, so they get the byte budget first.
    messages = [
        message for item in reversed(items) for message in reversed(message_of(item, clipper))
    ]
    return messages[::-1]


def _completion(body: Json, clipper: Clipper) -> list[Message]:
    return _texts(body.get("prompt"), clipper)


def _texts(given: object, clipper: Clipper) -> list[Message]:
    """Texts as messages of the user; of token ids only how many there are."""
    if isinstance(given, list) and given and isinstance(given[0], int):
        given = [given]
    messages: list[Message] = []
    for text in (given if isinstance(given, list) else [given])[:MAX_TEXTS]:
        if isinstance(text, list) and text and isinstance(text[0], int):
            text = f"[{len(text)} token ids]"
        if isinstance(text, Mapping):
            messages.append(("user", parts_of(text.get("content") or [text], clipper), None))
        else:
            messages.append(("user", parts_of(text, clipper), None))
    return messages


def _pooling(body: Json, clipper: Clipper) -> list[Message]:
    for first, second in _SCORED:
        if first in body and second in body:
            return [*_texts(body[first], clipper), *_texts(body[second], clipper)]
    if "messages" in body:
        return _chat(body, clipper)
    if images := body.get("images"):
        images = images if isinstance(images, list) else [images]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in images[:MAX_TEXTS]]
        return [("user", parts_of(parts, clipper), None)]
    given: Iterable[object] = (body.get(key) for key in ("input", "texts", "inputs", "items"))
    return _texts(next((value for value in given if value), None), clipper)


def _other(body: Json, clipper: Clipper) -> list[Message]:
    messages = _newest_first(_system(body, "instructions"), clipper)
    for key in ("token_ids", "prompt", "state"):
        if value := body.get(key):
            value = dump(value) if isinstance(value, Mapping) else value
            messages += _texts(value, clipper)
    if isinstance(size := body.get("file"), str):
        messages.append(("user", parts_of(f"[audio, {size.strip('[]')}]", clipper), None))
    for name, question in mapping_of(body.get("questions")).items():
        messages += _texts(f"{name}: {dump(question)}", clipper)
    return messages


_READERS: Final[Mapping[str, Callable[[Json, Clipper], list[Message]]]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "completion": _completion,
    "pooling": _pooling,
}
