"""Puts the answer together that a stream sends in pieces, in the shape of a whole answer.

Chat and completions send choices, Anthropic's Messages blocks, Responses items. Most events
differ from the one before only in a piece of text. Such an event is not parsed again: what
precedes and follows its text is compared, and the text alone is decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

from sidelight.instrumentation.vllm.parse.facts import Json
from sidelight.instrumentation.vllm.parse.values import (
    MAX_NAME_CHARACTERS,
    mapping_of,
    mappings_of,
    name_of,
    read_object,
)

# Of all pieces of an answer together; what comes after is left out.
MAX_TEXT_CHARACTERS: Final = 1024 * 1024
# Choices, blocks, items and calls, each with its texts.
MAX_TEXTS: Final = 1024
_MAX_SHAPES: Final = 8
_CHOICE: Final = "choice"
_PIECE: Final = re.compile(
    r'"(?:content|text|delta|reasoning|reasoning_content|thinking|partial_json|arguments)": ?'
    r'("[^"\\]*(?:\\.[^"\\]*)*")'
)
# Of a delta of chat, in this order in the message that it makes.
_DELTA_TEXTS: Final = ("content", "reasoning", "reasoning_content", "refusal")
_BLOCK_TEXTS: Final = {"text_delta": "text", "thinking_delta": "thinking"}
# Events of Responses, and the text of an item that their `delta` belongs to.
_ITEM_TEXTS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "thinking",
    "response.reasoning_summary_text.delta": "thinking",
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
# Of Cohere's chat, whose deltas are of one message.
_COHERE_EVENTS: Final = frozenset(
    {"content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"}
)
_FINAL_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
# Where a text belongs: kind, index, and for calls of a choice the call's index, then its name.
TextPlace = tuple[str | int, ...]


class _Shape(NamedTuple):
    """An event that was seen: its line before and after the text, and where the text goes."""

    before: str
    after: str
    pieces: list[str]


class StreamedAnswer:
    """Collects the pieces of one answer, up to `MAX_TEXT_CHARACTERS` in `MAX_TEXTS` texts."""

    def __init__(self) -> None:
        self.is_cut = False
        self._left = MAX_TEXT_CHARACTERS
        self._texts: dict[TextPlace, list[str]] = {}
        self._calls: dict[TextPlace, dict[str, str]] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._response: Json | None = None
        self._shapes: list[_Shape] = []
        # What the event that is being read has added.
        self._added: list[tuple[list[str], str]] = []

    def events(self, raw: bytes) -> Iterator[Json]:
        """Read a stream of events; yields those that hold more than one more piece of text."""
        for line in raw.decode("utf-8", "replace").split("\n"):
            if not line.startswith("data:") or self._is_known_shape(line):
                continue
            if (event := read_object(line[5:])) is not None:
                self._added.clear()
                self._read(event)
                if len(self._added) == 1:
                    self._learn(line, *self._added[0])
                yield event

    def body(self, reasons: Mapping[int, str]) -> Json | None:
        """The whole answer, as it would have come at once; None if there was no text."""
        if self._response is not None:
            return self._response
        if self._blocks:
            return {
                "type": "message",
                "content": [self._blocks_of(i) for i in sorted(self._blocks)],
            }
        if self._items:
            return {"output": [self._item(i) for i in sorted(self._items)]}
        indices = sorted(
            {place[1] for place in (*self._texts, *self._calls) if place[0] == _CHOICE}
        )
        choices = [self._choice(index, reasons) for index in indices]
        return {"choices": choices} if choices else None

    def _is_known_shape(self, line: str) -> bool:
        for before, after, pieces in self._shapes:
            if line.startswith(before) and line.endswith(after):
                end = len(line) - len(after)
                if end <= len(before) or line[len(before)] != '"':
                    continue
                try:
                    text, text_end = scanstring(line, len(before) + 1, True)
                except ValueError:
                    continue
                if text_end == end:
                    self._keep(pieces, text)
                    return True
        return False

    def _learn(self, line: str, pieces: list[str], text: str) -> None:
        matches = [match for match in _PIECE.finditer(line) if json.loads(match[1]) == text]
        if len(matches) == 1:
            (match,) = matches
            self._shapes.insert(0, _Shape(line[: match.start(1)], line[match.end(1) :], pieces))
            del self._shapes[_MAX_SHAPES:]

    def _add(self, text: object, *place: str | int) -> None:
        if not isinstance(text, str) or not text:
            return
        pieces = self._texts.get(place)
        if pieces is None:
            if len(self._texts) >= MAX_TEXTS:
                self.is_cut = True
                return
            pieces = self._texts[place] = []
        self._added.append((pieces, text))
        self._keep(pieces, text)

    def _keep(self, pieces: list[str], text: str) -> None:
        if len(text) > self._left:
            self.is_cut, text = True, text[: self._left]
        self._left -= len(text)
        if text:
            pieces.append(text)

    def _read(self, event: Json) -> None:
        if "choices" in event:
            for position, choice in enumerate(mappings_of(event["choices"])):
                self._read_choice(_index(choice.get("index"), position), choice)
            return
        match event.get("type"):
            case "content_block_start":
                self._start_block(
                    _index(event.get("index")), mapping_of(event.get("content_block"))
                )
            case "content_block_delta":
                self._read_block(_index(event.get("index")), mapping_of(event.get("delta")))
            case "response.output_item.added" | "response.output_item.done":
                self._set_item(_index(event.get("output_index")), mapping_of(event.get("item")))
            case str(kind) if kind in _ITEM_TEXTS:
                index = _index(event.get("output_index"))
                self._set_item(index, {}, _ITEM_TEXTS[kind])
                self._add(event.get("delta"), "item", index, _ITEM_TEXTS[kind])
            case str(kind) if kind in _COHERE_EVENTS:
                message = mapping_of(mapping_of(event.get("delta")).get("message"))
                self._read_cohere(message, _index(event.get("index")))
            case "transcription.done":
                self._add(event.get("text"), _CHOICE, 0, "text")
            case str(kind) if kind in _FINAL_EVENTS:
                response = mapping_of(event.get("response"))
                if response.get("output"):
                    self._response = response

    def _read_choice(self, index: int, choice: Json) -> None:
        self._add(choice.get("text"), _CHOICE, index, "text")
        delta = mapping_of(choice.get("delta"))
        for name in _DELTA_TEXTS:
            self._add(delta.get(name), _CHOICE, index, name)
        calls = list(mappings_of(delta.get("tool_calls")))
        for position, call in enumerate(calls):
            self._read_call(call, (_CHOICE, index, _index(call.get("index"), position)))
        if isinstance(legacy := delta.get("function_call"), dict):
            self._read_call({"function": legacy}, (_CHOICE, index, "function_call"))

    def _read_cohere(self, message: Json, index: int) -> None:
        content = mapping_of(message.get("content"))
        self._add(content.get("text"), _CHOICE, 0, "content")
        self._add(content.get("thinking"), _CHOICE, 0, "reasoning")
        self._add(message.get("tool_plan"), _CHOICE, 0, "reasoning")
        if call := mapping_of(message.get("tool_calls")):
            self._read_call(call, (_CHOICE, 0, index))

    def _read_call(self, call: Json, place: TextPlace) -> None:
        function = mapping_of(call.get("function"))
        told = {"id": name_of(call.get("id")), "name": name_of(function.get("name"))}
        if place not in self._calls:
            if len(self._calls) >= MAX_TEXTS:
                self.is_cut = True
                return
            self._calls[place] = {}
        self._calls[place].update({key: value for key, value in told.items() if value})
        self._add(function.get("arguments"), *place, "arguments")

    def _start_block(self, index: int, block: Json) -> None:
        if index not in self._blocks:
            if len(self._blocks) >= MAX_TEXTS:
                self.is_cut = True
                return
            # The text comes in pieces; what begins a block is empty, or the first of them.
            self._blocks[index] = {
                key: name_of(block.get(key)) for key in ("type", "id", "name") if key in block
            }
            self._add(block.get("text"), "block", index, "text")
            self._add(block.get("thinking"), "block", index, "thinking")

    def _read_block(self, index: int, delta: Json) -> None:
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._start_block(index, {"type": "tool_use"})
            self._add(delta.get("partial_json"), "block", index, "input")
        elif isinstance(kind, str) and kind in _BLOCK_TEXTS:
            name = _BLOCK_TEXTS[kind]
            self._start_block(index, {"type": name})
            self._add(delta.get(name), "block", index, name)

    def _set_item(self, index: int, item: Json, text: str = "") -> None:
        if index not in self._items and len(self._items) >= MAX_TEXTS:
            self.is_cut = True
            return
        self._items.setdefault(index, {"type": _ITEM_TYPES.get(text, "message")})
        if item:
            self._items[index] = dict(item)

    def _text(self, *place: str | int) -> str | None:
        pieces = self._texts.get(place)
        return None if pieces is None else "".join(pieces)

    def _choice(self, index: Any, reasons: Mapping[int, str]) -> dict[str, Any]:
        reason = reasons.get(index)
        text = self._text(_CHOICE, index, "text")
        if text is not None:
            return {"index": index, "text": text, "finish_reason": reason}
        message: dict[str, Any] = {"role": "assistant", "content": None}
        for name in _DELTA_TEXTS:
            if (said := self._text(_CHOICE, index, name)) is not None:
                message[name] = said
        calls: list[dict[str, Any]] = []
        for place, told in self._calls.items():
            if place[1] != index:
                continue
            function = {"name": told.get("name"), "arguments": self._text(*place, "arguments")}
            if place[2] == "function_call":
                message["function_call"] = function
            else:
                calls.append({"id": told.get("id"), "type": "function", "function": function})
        if calls:
            message["tool_calls"] = calls
        return {"index": index, "message": message, "finish_reason": reason}

    def _blocks_of(self, index: int) -> dict[str, Any]:
        block = dict(self._blocks[index])
        for name in ("text", "thinking", "input"):
            if (said := self._text("block", index, name)) is not None:
                block[name] = said
        return block

    def _item(self, index: int) -> dict[str, Any]:
        """An item as it was told last, with the pieces of its text if it had none then."""
        item = dict(self._items[index])
        for name in ("arguments", "input", "code"):
            if not item.get(name) and (said := self._text("item", index, name)):
                item[name] = said
        if not item.get("content") and not item.get("summary"):
            parts = [
                {"type": kind, name: said}
                for name, kind in (("text", "output_text"), ("refusal", "refusal"))
                if (said := self._text("item", index, name))
            ]
            if thought := self._text("item", index, "thinking"):
                parts.append({"type": "reasoning_text", "text": thought})
            if parts:
                item["content"] = parts
        return item


_ITEM_TYPES: Final = {
    "thinking": "reasoning",
    "arguments": "function_call",
    "input": "custom_tool_call",
    "code": "code_interpreter_call",
}


def _index(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) and 0 <= value < MAX_NAME_CHARACTERS**2 else default
