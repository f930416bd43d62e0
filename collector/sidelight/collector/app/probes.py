"""Serves /metrics, /healthz and /readyz, for one process or for all workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from sidelight.base.http_server import Handler, HttpLimits, HttpRequest, HttpResponse
from sidelight.base.listening import connections

_PATHS = ("/metrics", "/healthz", "/readyz")
# Probes and scrapes are small and few.
_MAX_CONNECTIONS = 128


class Probed(Protocol):
    """The state of the service, as the handler needs it."""

    async def metrics(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and exposition for an Accept header."""

    async def trouble(self) -> str | None:
        """Why the service must be restarted; None if it need not."""

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether received data can be stored, and a report on all parts."""


def limits() -> HttpLimits:
    """The limits of the port."""
    return HttpLimits(
        max_body_bytes=64 * 1024,
        max_buffered_bytes=1024 * 1024,
        max_connections=connections(_MAX_CONNECTIONS, "serve"),
        header_timeout_seconds=10.0,
        body_timeout_seconds=10.0,
        idle_timeout_seconds=120.0,
    )


def nobody(_authorization: str | None) -> bool:
    """Knows no reader: without tokens the report on readiness is for nobody."""
    return False


def handler(probed: Probed, is_reader: Callable[[str | None], bool]) -> Handler:
    """Answers the three paths.

    `is_reader` tells whether an Authorization header is that of a reader. Others learn of
    readiness only the state: a report names destinations and may quote what they answered.
    """

    async def handle(request: HttpRequest) -> HttpResponse:
        # Liveness, readiness and metrics are apart: a full disk must not restart the pod.
        if request.path not in _PATHS:
            return _plain(404, f"not found; paths: {', '.join(_PATHS)}")
        if request.method not in ("GET", "HEAD"):
            return _plain(405, f"{request.path} accepts only GET")
        if request.path == "/metrics":
            content_type, body = await probed.metrics(request.headers.get("accept"))
            return HttpResponse(200, body, {"Content-Type": content_type})
        if request.path == "/healthz":
            trouble = await probed.trouble()
            return _plain(200, "ok") if trouble is None else _plain(503, trouble)
        is_ready, report = await probed.readiness()
        if not is_reader(request.headers.get("authorization")):
            report = {"status": report["status"]}
        body = json.dumps(report, indent=2).encode() + b"\n"
        return HttpResponse(200 if is_ready else 503, body, {"Content-Type": "application/json"})

    return handle


def _plain(code: int, message: str) -> HttpResponse:
    return HttpResponse(code, f"{message}\n".encode(), {"Content-Type": "text/plain"})
