"""/metrics, /healthz and /readyz: what operators and probes ask the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sidelight.collector.deliveries import Deliveries
from sidelight.collector.http_server import Handler, HttpRequest, HttpResponse
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.measure.exposition import Exposition

_PATHS = ("/metrics", "/healthz", "/readyz")


class Health:
    """Ready means: what comes in can be kept. A dead destination does not make it unready,
    or an outage of one backend would take pods out of service that lose nothing by it.
    """

    def __init__(self, writer: LogWriter, deliveries: Deliveries) -> None:
        self._writer = writer
        self._deliveries = deliveries
        self.is_draining = False

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and the state of log and destinations."""
        if self.is_draining:
            state = "draining"
        elif self._writer.trouble is not None:
            state = f"the log cannot be written: {self._writer.trouble}"
        else:
            state = "ready"
        destinations = {
            each.name: {"lag_seconds": round(each.lag_seconds, 3), "trouble": each.trouble}
            for each in self._deliveries.all
        }
        return state == "ready", {"status": state, "destinations": destinations}


def handler(exposition: Exposition, health: Health, on_scrape: Callable[[], None]) -> Handler:
    """Answers the three paths; `on_scrape` runs before each exposition."""

    async def handle(request: HttpRequest) -> HttpResponse:
        if request.path not in _PATHS:
            return _plain(404, f"no such path; there are {', '.join(_PATHS)}")
        if request.method not in ("GET", "HEAD"):
            return _plain(405, f"{request.path} takes GET only")
        if request.path == "/metrics":
            on_scrape()
            content_type, body = exposition.render(request.headers.get("accept"))
            return HttpResponse(200, body, {"Content-Type": content_type})
        if request.path == "/healthz":
            return _plain(200, "ok")
        is_ready, report = health.report()
        body = json.dumps(report, indent=2).encode() + b"\n"
        return HttpResponse(200 if is_ready else 503, body, {"Content-Type": "application/json"})

    return handle


def _plain(code: int, message: str) -> HttpResponse:
    return HttpResponse(code, f"{message}\n".encode(), {"Content-Type": "text/plain"})
