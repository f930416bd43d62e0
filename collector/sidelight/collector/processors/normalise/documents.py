"""Documents found, in others' shapes, read into the ones that the backends display."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sidelight.collector.processors.normalise.messages import dumps, nested

Document = dict[str, Any]
"""One document: id, score, content, metadata, as far as they are known."""

RESULT_EVENTS = frozenset({"db.query.result", "db.search.result"})
_RESULT_PARTS = {
    "id": "id",
    "score": "score",
    "distance": "score",
    "document": "content",
    "metadata": "metadata",
    "entity": "content",
}
FLATTENED = "retrieval.documents."


def from_event(held: Mapping[str, Any]) -> Document:
    """The document of one of OpenLLMetry's result events."""
    found: Document = {}
    for name, value in held.items():
        part = _RESULT_PARTS.get(name.rpartition(".")[2])
        if part is not None and ".result." in name and value is not None:
            found.setdefault(part, value)
    if "id" in found:
        found["id"] = str(found["id"])
    if "score" in found:
        score = _number(found["score"])
        if score is None:
            del found["score"]
        else:
            found["score"] = score
    if isinstance(found.get("metadata"), str):
        found["metadata"] = _json(found["metadata"])
    return found


def from_output(text: str) -> list[Document]:
    """Documents in a retriever's output: a JSON list of them, alone or as `documents`."""
    value = _json(text) if text[:1] in ("{", "[") else None
    if isinstance(value, dict):
        value = value.get("documents")
    if not isinstance(value, list):
        return []
    found = []
    for each in value:
        if not isinstance(each, dict):
            return []
        content = each.get("page_content", each.get("content", each.get("text")))
        document = {
            "id": each.get("id"),
            "score": _number(each.get("score")),
            "content": content,
            "metadata": each.get("metadata"),
        }
        found.append({key: kept for key, kept in document.items() if kept is not None})
    return [each for each in found if each]


def from_flattened(pairs: Iterable[tuple[str, Any]]) -> list[Document]:
    """Documents of OpenInference's `retrieval.documents.N.document.*`."""
    return [
        item["document"]
        for item in nested(pairs)
        if isinstance(item, dict) and isinstance(item.get("document"), dict)
    ]


def flattened(documents: Iterable[Document]) -> dict[str, str | float]:
    """Documents under OpenInference's names, which do not ask for a score on each."""
    names: dict[str, str | float] = {}
    for index, document in enumerate(documents):
        for part, value in document.items():
            name = f"{FLATTENED}{index}.document.{part}"
            names[name] = value if isinstance(value, str | float) else dumps(value)
    return names


def all_scored(documents: Iterable[Document]) -> bool:
    """Whether each has a score: Phoenix drops a list of which one has none."""
    return all("score" in document for document in documents)


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
