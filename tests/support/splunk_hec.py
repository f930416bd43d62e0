"""A stand-in for Splunk's HTTP Event Collector, which no registry has: its rules, nothing stored.

The rules are those of "Format events for HTTP Event Collector" and of the table of statuses and
codes in "Troubleshoot HTTP Event Collector".
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from support.backend import Backend, Reply, Request

_KEYS = {"time", "host", "source", "sourcetype", "index", "event", "fields"}


class SplunkHecStandIn(Backend):
    """Accepts one token, which may write to some indexes; keeps the events."""

    def __init__(self, token: str, *, indexes: tuple[str, ...] = ("main",)) -> None:
        self.token = token
        self.indexes = indexes
        self.events: list[dict[str, Any]] = []
        self.refuse: str | None = None
        """An event with this text in it is malformed to the collector."""
        super().__init__(self._collect)

    def _collect(self, request: Request) -> Reply:
        if request.path != "/services/collector/event":
            return _reply(404, "The requested URL was not found on this server.", 404)
        authorization = request.headers.get("authorization", "")
        if not authorization:
            return _reply(401, "Token is required", 2)
        if not authorization.startswith("Splunk "):
            return _reply(401, "Invalid authorization", 3)
        if authorization != f"Splunk {self.token}":
            return _reply(403, "Invalid token", 4)
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if not body.strip():
            return _reply(400, "No data", 5)
        events: list[dict[str, Any]] = []
        text, at = body.decode(), 0
        while at < len(text):
            event, at = json.JSONDecoder().raw_decode(text, at)
            fault = self._fault(event)
            if fault is not None:
                return _reply(400, *fault, number=len(events))
            events.append(event)
        self.events += events
        return _reply(200, "Success", 0)

    def _fault(self, event: dict[str, Any]) -> tuple[str, int] | None:
        if event.keys() - _KEYS or (self.refuse and self.refuse in json.dumps(event)):
            return "Invalid data format", 6
        if event.get("index", self.indexes[0]) not in self.indexes:
            return "Incorrect index", 7
        if "event" not in event:
            return "Event field is required", 12
        if event["event"] in ("", None):
            return "Event field cannot be blank", 13
        for value in event.get("fields", {}).values():
            # Fields are flat: texts, numbers, truth values and lists of them.
            if isinstance(value, dict):
                return "Error in handling indexed fields", 15
        return None


def _reply(status: int, text: str, code: int, number: int | None = None) -> Reply:
    said: dict[str, Any] = {"text": text, "code": code}
    if number is not None:
        said["invalid-event-number"] = number
    return Reply(status, json.dumps(said).encode(), {"Content-Type": "application/json"})
