"""Reads observations back from Langfuse by its API, as its own pages show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

_PROJECTS = "/api/public/projects"
# Other paths to read can be ten minutes late.
_OBSERVATIONS = "/api/public/v2/observations"
_FIELDS = "core,basic,usage,trace_context"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class SeenObservation:
    """One observation as Langfuse counts it: tokens and cost are its own sums."""

    name: str
    type: str
    tokens: int
    cost: float
    session: str
    environment: str


class LangfuseReader:
    """Queries the project of a pair of keys. All methods raise `httpx.HTTPError`."""

    def __init__(self, url: str, public_key: str, secret_key: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30, auth=(public_key, secret_key))
        self._project_id = ""

    def project(self) -> str:
        """The name of the project."""
        answer = self._http.get(_PROJECTS).raise_for_status().json()
        project = answer["data"][0]
        self._project_id = project["id"]
        return str(project["name"])

    def link(self, trace_id: str) -> str:
        """The page of a trace."""
        return f"{self.url}/project/{self._project_id}/traces/{trace_id}"

    def traces(
        self, trace_ids: Collection[str], since_seconds: float
    ) -> dict[str, list[SeenObservation]]:
        """The observations of these traces that started after `since_seconds` (Unix)."""
        since = datetime.fromtimestamp(since_seconds, UTC).isoformat().replace("+00:00", "Z")
        parameters = {"fields": _FIELDS, "limit": str(_PAGE), "fromStartTime": since}
        found: dict[str, list[SeenObservation]] = {}
        while True:
            page = self._http.get(_OBSERVATIONS, params=parameters).raise_for_status().json()
            for item in page["data"]:
                if item["traceId"] in trace_ids:
                    found.setdefault(item["traceId"], []).append(_observation(item))
            cursor = (page.get("meta") or {}).get("cursor")
            if not cursor:
                return found
            parameters["cursor"] = cursor


def _observation(item: Mapping[str, Any]) -> SeenObservation:
    usage = item.get("usageDetails") or {}
    total = usage.get("total")
    return SeenObservation(
        name=item.get("name") or "",
        type=item["type"],
        tokens=sum(usage.values()) if total is None else total,
        cost=item.get("totalCost") or 0.0,
        session=item.get("sessionId") or "",
        environment=item.get("environment") or "",
    )
