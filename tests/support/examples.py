"""The examples of the repository, run against backends of a test."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.backend import Backend, Reply, Request
from support.collector import settings
from support.otlp_receiver import ReceivedSpan, decode_spans
from support.paths import ROOT

EXAMPLES = ROOT / "examples"


def configuration(name: str, directory: Path, urls: Mapping[str, str]) -> dict[str, Any]:
    """The example's sidelight.yaml on free ports, with its log in `directory`.

    `urls` are the backends, by the type of destination.
    """
    written = yaml.safe_load((EXAMPLES / name / "sidelight.yaml").read_text())
    run: dict[str, Any] = settings(directory, **written)
    run["receivers"] = {**settings(directory)["receivers"], **written.get("receivers", {})}
    run["dashboards"] = {"directory": ""}
    run["destinations"] = [
        {**destination, "url": urls[destination["type"]]} for destination in written["destinations"]
    ]
    return run


@dataclass(frozen=True, slots=True)
class Delivered:
    """One request that a backend got: where it went, whose it was, and what was in it."""

    path: str
    authorization: str
    body: bytes

    def spans(self) -> list[ReceivedSpan]:
        """Its spans, if it holds traces."""
        return decode_spans(self.body) if self.path.endswith("/traces") else []


class AnyBackend(Backend):
    """Phoenix or Langfuse in so far as it takes whatever it is sent, and keeps it."""

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []
        super().__init__(self._take)

    def spans(self) -> Iterator[ReceivedSpan]:
        """All spans so far."""
        for request in list(self.delivered):
            yield from request.spans()

    def names(self) -> set[str]:
        """The names of all spans so far."""
        return {span.name for span in self.spans()}

    def _take(self, request: Request) -> Reply:
        compressed = request.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(request.body) if compressed else request.body
        authorization = request.headers.get("authorization", "")
        self.delivered.append(Delivered(request.path, authorization, body))
        return Reply(200, b"{}", {"Content-Type": "application/json"})
