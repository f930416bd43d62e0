"""Reads documents of other instrumentors, and writes them as the backends show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sidelight.collector.processors.normalise.messages import dumps, from_json, nested

Document = dict[str, Any]
"""One document: id, score, content, metadata, as far as they are known."""

RESULT_EVENTS = frozenset({"db.query.result", "db.search.result"})
# The ends of their names, whose beginnings differ by version.
_RESULT_PARTS = {
    "id": "id",
    "score": "score",
    "distance": "score",
    "document": "content",
    "metadata": "metadata",
    "entity": "content",
}
FLATTENED = "retrieval.documents."


def from_event(attributes: Mapping[str, Any]) -> Document:
    """The document of one of OpenLLMetry's result events."""
    document: Document = {}
    for name, value in attributes.items():
        part = _RESULT_PARTS.get(name.rpartition(".")[2])
        if part is not None and ".result." in name and value is not None:
            # Of two names for one part the first counts.
            document.setdefault(part, value)
    if "id" in document:
        # A text in OpenInference's conventions.
        document["id"] = str(document["id"])
    if "score" in document:
        score = _number(document["score"])
        if score is None:
            del document["score"]
        else:
            document["score"] = score
    if isinstance(document.get("metadata"), str):
        # Text is what it says.
        document["metadata"] = from_json(document["metadata"], document["metadata"])
    return document


def from_output(text: str) -> list[Document]:
    """Documents in a retriever's output: a JSON list of them, alone or as `documents`."""
    value = from_json(text) if text[:1] in ("{", "[") else None
    if isinstance(value, dict):
        value = value.get("documents")
    if not isinstance(value, list):
        return []
    documents = []
    for item in value:
        # One that is no document shows that the list is something else.
        if not isinstance(item, dict):
            return []
        document = {
            "id": item.get("id"),
            "score": _number(item.get("score")),
            # LangChain, Haystack, and LlamaIndex.
            "content": item.get("page_content", item.get("content", item.get("text"))),
            "metadata": item.get("metadata"),
        }
        documents.append({part: known for part, known in document.items() if known is not None})
    return [document for document in documents if document]


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
    """Whether all have a score: Phoenix drops a list in which one has none."""
    return all("score" in document for document in documents)


def _number(value: Any) -> float | None:
    # Some write scores as text; a bool is a number to Python only.
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
