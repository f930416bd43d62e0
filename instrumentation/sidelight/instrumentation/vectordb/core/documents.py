"""Documents of a retrieval as one JSON attribute, within caps on count, characters and bytes.

One attribute, because the SDK keeps 128 and drops the oldest: forty documents in attributes
of their own would evict the span's kind and the database's name. Every item has a score, as
Phoenix wants it; metadata stays valid JSON: it is shortened by dropping whole keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any, Final

from sidelight.instrumentation.content import clip
from sidelight.instrumentation.settings import Settings

# Under `truncated` the whole list stays within this, as a span of 64 KB is refused or cut by
# many backends; under `full` only `Settings.max_bytes` counts.
TRUNCATED_MAX_BYTES: Final = 16_384
# Names under which frameworks and tutorials keep the text of a chunk.
_TEXT_FIELDS: Final = (
    "text", "content", "page_content", "document", "chunk", "passage", "body",
)  # fmt: skip
_ID_CHARACTERS: Final = 256
# Where LlamaIndex keeps a whole node, as JSON.
_NODE: Final = "_node_content"
MAX_NODE_CHARACTERS: Final = 65_536
# A hit by the type of its id, as `_head` writes it.
_INTEGERS: Final = {int}
_TEXTS: Final = {str}
_INTEGER_HIT: Final = '{"id":"%d","score":%.7g},'
_TEXT_HIT: Final = '{"id":%s,"score":%.7g},'
_Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Document:
    """One hit: `score` is None where the call has none; `fields` is read only if text may leave."""

    id: object
    score: float | None
    fields: Mapping[str, Any] | None = None
    text: str | None = None


def ids_json(
    ids: Sequence[object], scores: Sequence[float | None] | None, settings: Settings
) -> tuple[str, bool]:
    """Hits by their ids and scores as a JSON list, and whether a cap left some out."""
    kept = ids[: settings.max_documents]
    known = scores[: len(kept)] if scores is not None else [None] * len(kept)
    shown = _uniform(kept, known)
    if shown is None or len(shown) > settings.max_bytes:
        items = [_head(*hit) + "}" for hit in zip(kept, known, strict=False)]
        kept = _first(items, settings.max_bytes - 2)
        shown = _list(kept)
    return shown, len(kept) < len(ids)


def _uniform(ids: Sequence[Any], scores: Sequence[Any]) -> str | None:
    """The list of hits that are alike: one format for all, as this is on every search's path.

    None where an id is neither an integer nor a short text like the others, or a score is no
    finite number.
    """
    kinds = set(map(type, ids))
    try:
        if kinds == _INTEGERS:
            template, shown = _INTEGER_HIT, ids
        elif kinds == _TEXTS and max(map(len, ids)) <= _ID_CHARACTERS:
            template, shown = _TEXT_HIT, list(map(encode_basestring_ascii, ids))
        else:
            return None
        if not isfinite(sum(scores)):
            return None
        cells: list[Any] = [None] * (2 * len(ids))
        cells[::2] = shown
        cells[1::2] = scores
    except (TypeError, ValueError):
        return None
    return f"[{(template * len(ids) % tuple(cells))[:-1]}]"


def documents_json(documents: Iterable[Document], settings: Settings) -> tuple[str, bool]:
    """`documents` with text and metadata as a JSON list, and whether a cap cut anything."""
    budget = settings.max_bytes
    if settings.capture_content == "truncated":
        budget = min(budget, TRUNCATED_MAX_BYTES)
    items: list[str] = []
    size = 2
    truncated = False
    for document in documents:
        if len(items) >= settings.max_documents:
            return _list(items), True
        item, cut = _item(document, settings, budget - size)
        truncated = truncated or cut
        if item is None:
            return _list(items), True
        items.append(item)
        size += len(item) + 1
    return _list(items), truncated


def _list(items: list[str]) -> str:
    return "[" + ",".join(items) + "]"


def _first(items: list[str], room: int) -> list[str]:
    """As many items as fit into `room` bytes with a comma between them."""
    size = -1
    for place, item in enumerate(items):
        size += len(item) + 1
        if size > room:
            return items[:place]
    return items


def _head(identifier: object, score: float | None) -> str:
    """The JSON object of a hit without its closing brace."""
    # Always text, as the GenAI conventions have it: Phoenix drops a list with one number in it.
    shown = f'"{identifier}"' if type(identifier) is int else _text(identifier)
    # Nor does it take an item without a number for its score: zero stands for none, and for NaN
    # and infinity, which JSON lacks and whose difference to themselves is not zero.
    if score is None or score - score != 0.0:
        score = 0.0
    # As many digits as a 32-bit float has, which is what the databases compute with.
    return f'{{"id":{shown},"score":{score:.7g}'


def _text(identifier: object) -> str:
    return encode_basestring_ascii(str(identifier)[:_ID_CHARACTERS])


def _item(document: Document, settings: Settings, room: int) -> tuple[str | None, bool]:
    """One document in at most `room` bytes: without content if need be, None if not even so."""
    head = _head(document.id, document.score)
    if len(head) + 1 > room:
        return None, True
    text, metadata = _split(document)
    kept, cut = clip(text, settings) if text is not None else ("", False)
    extra, dropped = _metadata(metadata, settings)
    content = ',"content":' + encode_basestring_ascii(kept) if text is not None else ""
    for parts in ((content, extra), (content, ""), ("", "")):
        item = head + parts[0] + parts[1] + "}"
        if len(item) <= room:
            return item, cut or dropped or parts != (content, extra)
    return None, True


def _split(document: Document) -> tuple[str | None, Mapping[str, Any]]:
    """The text of a document and the rest of its fields."""
    fields = document.fields or {}
    node = fields.get(_NODE)
    if node is not None:
        # It repeats the text and the metadata, which are fields of their own.
        fields = {key: value for key, value in fields.items() if key != _NODE}
    if document.text is not None:
        return document.text, fields
    text = _node_text(node)
    if text is not None:
        return text, fields
    for name in _TEXT_FIELDS:
        if isinstance(fields.get(name), str):
            break
    else:
        texts = {key: value for key, value in fields.items() if isinstance(value, str)}
        if not texts:
            return None, fields
        name = max(texts, key=lambda key: len(texts[key]))
    return fields[name], {key: value for key, value in fields.items() if key != name}


def _node_text(node: Any) -> str | None:
    """The text of LlamaIndex's node, of an old version or a new one; None if it has none.

    With some databases the text is a field of its own, and that in the node is empty.
    """
    if not isinstance(node, str):
        return None
    if len(node) > MAX_NODE_CHARACTERS:
        return node
    try:
        content = json.loads(node)
        resource = content.get("text_resource") or {}
        text = content.get("text") or resource.get("text")
    except (ValueError, AttributeError, RecursionError):
        return node
    return text if isinstance(text, str) and text else None


def _metadata(fields: Mapping[str, Any], settings: Settings) -> tuple[str, bool]:
    """Scalars of `fields` as JSON, keys dropped whole once the share of a document is used up."""
    room = max(settings.max_characters, 256) // 2
    if settings.capture_content == "full":
        room = settings.max_bytes
    kept: list[str] = []
    dropped = False
    for key, field in fields.items():
        # A numpy scalar, as Milvus decodes a FLOAT field, has no dimensions.
        value = field.item() if getattr(field, "ndim", None) == 0 else field
        if not isinstance(value, _Scalar):
            # Lists may be vectors, which are never captured.
            continue
        if isinstance(value, float) and not isfinite(value):
            value = None
        item = encode_basestring_ascii(str(key)) + ":" + json.dumps(value)
        if len(item) > room:
            dropped = True
            continue
        room -= len(item) + 1
        kept.append(item)
    return (',"metadata":{' + ",".join(kept) + "}" if kept else ""), dropped
