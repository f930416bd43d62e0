"""Parts of a message: reads those of every API, and writes them as the backends show them.

Phoenix reads the parts schema of OpenTelemetry's GenAI conventions. Langfuse shows a list of `text`
and `image_url` parts, and `thinking` beside it; of a list with other parts it shows the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

Part = dict[str, Any]
"""One part in the parts schema: type, and what belongs to the type."""

_MODALITIES: Final = ("image", "audio", "video")
# Objects inside a part that hold its link, data or id, and the names of these.
_HOLDERS: Final = (
    "image_url", "audio_url", "video_url", "input_audio", "inline_data", "file_data", "file",
    "source", "image",
)  # fmt: skip
_SOURCES: Final = (
    "url", "uri", "file_uri", "file_url", "image_url", "audio_url", "video_url", "image", "data",
    "file_data", "bytes",
)  # fmt: skip
_MAX_DEPTH: Final = 4
_CALLS: Final = ("tool_call", "tool_call_response")
_MIME_TYPES: Final = ("mime_type", "media_type", "mediaType", "mimeType")
_NAMES: Final = ("filename", "title", "name")


def canonical(part: Mapping[str, Any]) -> Part:
    """A part of any API in the parts schema; one of a type that is not known stays."""
    # Google's and Bedrock's parts have one key, which is their type.
    kind = str(part.get("type") or next((key for key in part if key in _READERS), "text"))
    read = _READERS.get(kind)
    inner = part.get(kind)
    held = {**part, **inner} if isinstance(inner, Mapping) else part
    made = None if read is None else read(kind, held)
    return {**part, "type": kind} if made is None else made


def completed(parts: list[Any]) -> list[Any]:
    """Parts such that Phoenix shows each: it leaves out what is not text, image or reasoning.

    These parts stay as they are, and a text that says what they are follows them.
    """
    # Parts come out of JSON: asking for a dict is ten times as fast as for a Mapping.
    if all(isinstance(part, dict) and _is_shown(part) for part in parts):
        return parts
    made: list[Any] = []
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or _is_shown(part):
            made.append(part)
            continue
        known = canonical(part)
        note = _note(known)
        if note is None:
            made.append(known)
            continue
        made.append(part)
        told: Part = {"type": "text", "content": note}
        if parts[index + 1 : index + 2] != [told]:
            made.append(told)
    return made


def _is_shown(part: Mapping[str, Any]) -> bool:
    """Whether a part needs nothing, as most do: reading it would cost ten times as much."""
    kind = part.get("type")
    return kind in _CALLS or (
        kind in ("text", "reasoning") and isinstance(part.get("content"), str)
    )


def displayed(parts: list[Any]) -> tuple[str | list[Part], list[Part]]:
    """Content and thinking of completed parts, in the shape of OpenAI's API, without calls."""
    shown: list[Part] = []
    thinking: list[Part] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "reasoning":
            thinking.append({"type": "thinking", "content": text_of(part.get("content"))})
        elif kind == "text":
            shown.append({"type": "text", "text": text_of(part.get("content"))})
        elif kind in ("uri", "blob") and part.get("modality") == "image":
            shown.append({"type": "image_url", "image_url": {"url": _address(part)}})
    if not shown:
        return "", thinking
    if len(shown) == 1 and shown[0]["type"] == "text":
        return str(shown[0]["text"]), thinking
    return shown, thinking


def text_of(value: Any) -> str:
    """A value as text: itself, or its JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _address(part: Mapping[str, Any]) -> str:
    if part.get("type") == "uri":
        return text_of(part.get("uri"))
    mime_type = part.get("mime_type") or "application/octet-stream"
    return f"data:{mime_type};base64,{text_of(part.get('content'))}"


def _note(part: Part) -> str | None:
    """What a part is that the backends do not show; None for those they do."""
    kind = part["type"]
    if kind in ("text", "reasoning") or kind in _CALLS:
        return None
    if kind not in ("uri", "blob", "file"):
        return f"[{kind}]"
    modality = part.get("modality")
    if modality == "image" and kind != "file":
        return None
    told = [part[name] for name in (*_NAMES, "mime_type") if isinstance(part.get(name), str)]
    if kind == "blob":
        told.append(f"{len(text_of(part.get('content'))) * 3 // 4:,} bytes")
    told += [part[name] for name in ("uri", "file_id") if isinstance(part.get(name), str)]
    return f"[{modality or kind}: {', '.join(told)}]" if told else f"[{modality or kind}]"


def _read_text(_: str, part: Mapping[str, Any]) -> Part | None:
    text = part.get("text", part.get("refusal"))
    return None if "content" in part or text is None else {"type": "text", "content": text}


def _read_reasoning(_: str, part: Mapping[str, Any]) -> Part | None:
    for name in ("content", "thinking", "text", "reasoningText", "summary"):
        held = part.get(name)
        if isinstance(held, Mapping):
            held = held.get("text")
        if isinstance(held, list):
            texts = [each.get("text") for each in held if isinstance(each, Mapping)]
            held = "\n".join(text for text in texts if isinstance(text, str))
        if isinstance(held, str) and held:
            return {"type": "reasoning", "content": held}
    return None


def _read_media(kind: str, part: Mapping[str, Any]) -> Part | None:
    """An image, audio, video or document: its data, a link to it, or its id with the provider."""
    if kind == "file" and "modality" in part:
        return None  # the parts schema has a `file` too
    held, sources = _unfolded(part)
    mime_type = _first(held, _MIME_TYPES)
    modality = next((name for name in _MODALITIES if name in kind), "")
    if not mime_type and (form := _first(held, ("format",))):
        mime_type = f"{modality}/{form}" if modality else ""
    source = next((text for text in sources if text), "")
    if source.startswith("data:"):
        head, _, source = source.partition(",")
        mime_type = head.removeprefix("data:").partition(";")[0] or mime_type
        told: Part = {"type": "blob", "content": source}
    elif "://" in source[:16]:
        told = {"type": "uri", "uri": source}
    elif source:
        told = {"type": "blob", "content": source}
    elif file_id := _first(held, ("file_id",)):
        told = {"type": "file", "file_id": file_id}
    else:
        return None
    if not modality:
        modality = next((name for name in _MODALITIES if mime_type.startswith(name)), "document")
    named = {name: held[name] for name in _NAMES if isinstance(held.get(name), str)}
    return {
        **told,
        "modality": modality,
        **({"mime_type": mime_type} if mime_type else {}),
        **named,
    }


def _unfolded(part: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a part and the objects inside it say, and the texts that may be link or data."""
    held: dict[str, Any] = dict(part)
    sources: list[str] = []
    inner: Mapping[str, Any] = part
    for _ in range(_MAX_DEPTH):
        sources += [text for name in _SOURCES if isinstance(text := inner.get(name), str)]
        following = next(
            (each for name in _HOLDERS if isinstance(each := inner.get(name), Mapping)), None
        )
        if following is None:
            break
        inner = following
        held.update(inner)
    return held, sources


def _first(held: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if isinstance(text := held.get(name), str)), "")


def _read_call(_: str, part: Mapping[str, Any]) -> Part:
    return {
        "type": "tool_call",
        "id": _any(part, "id", "call_id", "toolCallId", "toolUseId"),
        "name": _any(part, "name", "toolName"),
        "arguments": _any(part, "input", "args", "arguments"),
    }


def _read_response(_: str, part: Mapping[str, Any]) -> Part:
    return {
        "type": "tool_call_response",
        "id": _any(part, "tool_use_id", "call_id", "toolCallId", "toolUseId"),
        "response": _any(part, "content", "output", "result", "response"),
    }


def _any(part: Mapping[str, Any], *names: str) -> Any:
    return next((part[name] for name in names if part.get(name) is not None), None)


_READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Part | None]] = MappingProxyType(
    {
        **dict.fromkeys(("text", "input_text", "output_text", "refusal"), _read_text),
        **dict.fromkeys(
            ("reasoning", "thinking", "reasoning_text", "reasoning_content", "reasoningContent"),
            _read_reasoning,
        ),
        **dict.fromkeys(
            ("image_url", "input_image", "image", "audio_url", "input_audio", "audio", "video_url",
             "input_video", "video", "input_file", "file", "document", "inline_data", "file_data"),
            _read_media,
        ),
        **dict.fromkeys(("tool_use", "tool-call", "function_call", "toolUse"), _read_call),
        **dict.fromkeys(
            ("tool_result", "tool-result", "function_response", "function_call_output",
             "toolResult"),
            _read_response,
        ),
    }
)  # fmt: skip
"""How the parts of OpenAI's, Anthropic's, Google's, Bedrock's and Vercel's APIs are read."""
