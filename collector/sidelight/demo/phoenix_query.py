"""Reads traces back from Phoenix by GraphQL, as its own pages do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

_TRACE = """
query ($traceId: String!) {
  getTraceByOtelId(traceId: $traceId) {
    spans(first: 500) {
      edges { node {
        spanId parentId name spanKind statusCode statusMessage latencyMs
        tokenCountPrompt tokenCountCompletion numDocuments attributes
      } }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """One span as Phoenix shows it: kind, tokens and documents are Phoenix's own columns."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    failed: bool
    milliseconds: float
    prompt_tokens: int
    completion_tokens: int
    documents: int
    attributes: Mapping[str, Any]

    def get(self, attribute: str) -> Any:
        """An attribute by its dotted name, or None. Phoenix stores attributes as nested objects."""
        value: Any = self.attributes
        for part in attribute.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value


class PhoenixReader:
    """Queries a Phoenix server. All methods raise `httpx.HTTPError`."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        self._http = httpx.Client(base_url=url, timeout=30, headers=headers)

    def link(self, trace_id: str) -> str:
        """The page of a trace."""
        return f"{self.url}/redirects/traces/{trace_id}"

    def trace(self, trace_id: str) -> list[SeenSpan]:
        """The stored spans of a trace; empty if there are none yet."""
        response = self._http.post(
            "/graphql", json={"query": _TRACE, "variables": {"traceId": trace_id}}
        )
        response.raise_for_status()
        trace = (response.json().get("data") or {}).get("getTraceByOtelId")
        return [_span(edge["node"]) for edge in trace["spans"]["edges"]] if trace else []

    def traces(self, trace_ids: Sequence[str]) -> dict[str, list[SeenSpan]]:
        """The spans of many traces."""
        return {trace_id: self.trace(trace_id) for trace_id in trace_ids}


def _span(node: Mapping[str, Any]) -> SeenSpan:
    return SeenSpan(
        span_id=node["spanId"],
        parent_id=node["parentId"],
        name=node["name"],
        kind=node["spanKind"].upper(),
        failed=node["statusCode"] == "ERROR",
        milliseconds=node["latencyMs"] or 0.0,
        prompt_tokens=node["tokenCountPrompt"] or 0,
        completion_tokens=node["tokenCountCompletion"] or 0,
        documents=node["numDocuments"] or 0,
        attributes=json.loads(node["attributes"]),
    )
