"""Messages of all APIs as parts: texts, reasoning, calls of tools, what tools answered.

Of images, audio, files and token ids only the kind is captured and, if it has an address, the
address without its query. A text in brackets names the kind, since Phoenix leaves such parts out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidelight.instrumentation.content import Clipper
from sidelight.instrumentation.vllm.parse.values import (
    MAX_NAME_CHARACTERS,
    mapping_of,
    mappings_of,
)

Part = dict[str, Any]
# A message of a request or an answer: role, parts, finish reason.
Message = tuple[str, list[Part], str | None]

# A client can write anything as the type of a part.
MAX_TYPE_CHARACTERS: Final = 64
MAX_URI_CHARACTERS: Final = 2048
# Where chat messages and their deltas have the reasoning, by version of vLLM.
_REASONING: Final = ("reasoning", "reasoning_content", "tool_plan")
_CALLS: Final = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
    "web_search_call": "action",
    "file_search_call": "queries",
    "computer_call": "action",
    "shell_call": "action",
    "local_shell_call": "action",
    "apply_patch_call": "operation",
}
# Calls that carry what they returned.
_RESULTS: Final = ("output", "results", "outputs")
_TOOL_USES: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def message_of(item: Mapping[str, Any], clipper: Clipper) -> list[Message]:
    """One message or item of a request or an answer.

    Each response of a tool is a message of its own, as the backends show them.
    """
    role = str(item.get("role") or "assistant")[:MAX_TYPE_CHARACTERS]
    kind = item.get("type")
    parts: list[Part]
    if kind == "reasoning":
        parts = thoughts_of([item], clipper)
    elif isinstance(kind, str) and kind in _CALLS:
        parts = _item_call(kind, item, clipper)
    elif isinstance(kind, str) and kind.endswith("_output") and "output" in item:
        role, parts = "tool", [_response(item.get("call_id"), item["output"], clipper)]
    elif role in ("tool", "function"):
        # The older API has no ids: a function's answer has its name.
        called = item.get("tool_call_id") or item.get("name")
        parts = [_response(called, item.get("content"), clipper)]
    else:
        parts = _said(item, clipper)
    return _separated(role, parts)


def _said(item: Mapping[str, Any], clipper: Clipper) -> list[Part]:
    parts = parts_of(item.get("content"), clipper)
    if not parts and item.get("type") not in (None, "message"):
        parts = [_named(item)]
    if isinstance(refusal := item.get("refusal"), str) and refusal:
        parts.append({"type": "text", "content": clipper.text(refusal)})
    if thought := first_text(item, _REASONING):
        parts.insert(0, {"type": "reasoning", "content": clipper.text(thought)})
    calls = [*mappings_of(item.get("tool_calls")), {"function": item.get("function_call")}]
    for call in calls:
        function = mapping_of(call.get("function"))
        if function:
            called = call.get("id") or ("" if "type" in call else function.get("name"))
            parts.append(_call(function, called, function.get("arguments"), clipper))
    return parts


def _item_call(kind: str, item: Mapping[str, Any], clipper: Clipper) -> list[Part]:
    called = item.get("call_id") or item.get("id")
    parts = [_call({"name": item.get("name") or kind}, called, item.get(_CALLS[kind]), clipper)]
    for key in _RESULTS:
        if item.get(key):
            parts.append(_response(called, item[key], clipper))
            break
    return parts


def parts_of(content: object, clipper: Clipper) -> list[Part]:
    """The parts of a message's content: a text, or a list of texts and typed parts."""
    if isinstance(content, str):
        return [{"type": "text", "content": clipper.text(content)}] if content else []
    given = content if isinstance(content, list) else []
    # What was said says more than what led to it, so it gets the byte budget first.
    order = sorted(range(len(given)), key=lambda place: _is_thought(given[place]))
    parts: list[list[Part]] = [[] for _ in given]
    for place in order:
        part = given[place]
        if isinstance(part, str):
            parts[place] = [{"type": "text", "content": clipper.text(part)}]
        elif isinstance(part, Mapping):
            parts[place] = _part(part, clipper)
    return [part for several in parts for part in several]


def _is_thought(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning")


def _part(part: Mapping[str, Any], clipper: Clipper) -> list[Part]:
    kind = str(part.get("type") or "text")[:MAX_TYPE_CHARACTERS]
    if _is_thought(part):
        return thoughts_of([part], clipper)
    if kind in _TOOL_USES:
        return [_call(part, part.get("id"), part.get("input"), clipper)]
    if kind.endswith("tool_result"):
        return [_response(part.get("tool_use_id"), part.get("content"), clipper)]
    text = first_text(part, ("text", "refusal"))
    if text is not None:
        return [{"type": "text", "content": clipper.text(text)}]
    if "text" in part and kind in ("text", "input_text", "output_text"):
        return []
    reference = _named(part)
    uri = f" {reference['uri']}" if "uri" in reference else ""
    return [reference, {"type": "text", "content": clipper.text(f"[{kind}{uri}]")}]


def _named(part: Mapping[str, Any]) -> Part:
    """A part that is not text: its kind and its address, never what it holds."""
    kind = str(part.get("type") or "unknown")[:MAX_TYPE_CHARACTERS]
    source = mapping_of(part.get("source"))
    for value in (part.get(kind), part.get("image_url"), part.get("file_url"), part, source):
        uri = _address(value.get("url") if isinstance(value, Mapping) else value)
        if uri is not None:
            return {"type": kind, "uri": uri}
    return {"type": kind}


def _address(url: object) -> str | None:
    """The address of something, without its query and credentials, which may give access."""
    if not isinstance(url, str) or len(url) > MAX_URI_CHARACTERS:
        return None
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.isalnum():
        return None
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def thoughts_of(items: Iterable[Mapping[str, Any]], clipper: Clipper) -> list[Part]:
    """Reasoning as Anthropic's API and Responses have it: a text, or lists of texts."""
    texts: list[str] = []
    for item in items:
        holders = [item, *mappings_of(item.get("summary")), *mappings_of(item.get("content"))]
        texts += [text for holder in holders if (text := first_text(holder, ("thinking", "text")))]
    if not texts:
        return []
    return [{"type": "reasoning", "content": clipper.text("\n".join(texts))}]


def first_text(item: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of these values that is a text and not empty."""
    return next((text for key in keys if isinstance(text := item.get(key), str) and text), None)


def _call(function: Mapping[str, Any], call_id: object, given: object, clipper: Clipper) -> Part:
    arguments = given if isinstance(given, str) else "" if given is None else dump(given)
    return {
        "type": "tool_call",
        "id": str(call_id or "")[:MAX_NAME_CHARACTERS],
        "name": str(function.get("name") or "")[:MAX_NAME_CHARACTERS],
        "arguments": clipper.text(arguments),
    }


def _response(call_id: object, content: object, clipper: Clipper) -> Part:
    """What a tool answered: a text, or parts, of which the texts are taken."""
    if isinstance(content, Mapping):
        content = [content]
    texts: list[str] = []
    if isinstance(content, str):
        texts.append(content)
    for part in mappings_of(content):
        text = first_text(part, ("text", "logs", "refusal"))
        texts.append(text if text is not None else f"[{_named(part)['type']}]")
    called = str(call_id or "")[:MAX_NAME_CHARACTERS]
    return {
        "type": "tool_call_response",
        "id": called,
        "response": clipper.text("\n".join(texts)),
    }


def _separated(role: str, parts: list[Part]) -> list[Message]:
    responses = [part for part in parts if part["type"] == "tool_call_response"]
    if len(parts) < 2 or not responses:
        return [(role, parts, None)]
    rest = [part for part in parts if part["type"] != "tool_call_response"]
    told: list[Message] = [("tool", [response], None) for response in responses]
    if not rest:
        return told
    # An assistant's calls precede what they returned; a user's results precede the question.
    said: Message = (role, rest, None)
    return [said, *told] if role == "assistant" else [*told, said]


def dump(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
