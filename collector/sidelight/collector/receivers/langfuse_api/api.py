"""Langfuse's public API, as far as its SDKs ask for it when an app sends traces.

Measured with the Langfuse SDK 5: it sends spans to the OTLP path below, asks for its project
when told to check its keys, and posts scores and media to paths that nothing here can keep.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

from sidelight.base.auth.guard import Identity
from sidelight.base.http_server import HttpRequest, HttpResponse
from sidelight.otlp.signals import Signal

PREFIX: Final = "/api/public/"
HEALTH_PATH: Final = "/api/public/health"
PROJECTS_PATH: Final = "/api/public/projects"
OTLP_PATHS: Final = MappingProxyType[str, Signal](
    {
        "/api/public/otel/v1/traces": "traces",
        # Langfuse answers 200 and throws them away; here they are kept.
        "/api/public/otel/v1/metrics": "metrics",
    }
)
_UNNAMED: Final = "sidelight"


def answer(request: HttpRequest, identity: Identity | None) -> HttpResponse:
    """To everything below `PREFIX` that is not OTLP."""
    if request.path == HEALTH_PATH and request.method == "GET":
        return _json(200, {"status": "OK", "version": "sidelight"})
    if request.path == PROJECTS_PATH and request.method == "GET":
        return _json(200, {"data": [_project(identity)]})
    return _json(
        404,
        {
            "message": f"Sidelight takes traces for Langfuse and passes them on; {request.method} "
            f"{request.path} is for Langfuse itself: use a client with its URL for that",
            "error": "LangfuseNotFoundError",
        },
    )


def refusal(message: str) -> HttpResponse:
    """To keys that are not known."""
    body = {"message": f"Invalid credentials: {message}", "error": "UnauthorizedError"}
    return _json(401, body, {"WWW-Authenticate": 'Basic realm="sidelight"'})


def _project(identity: Identity | None) -> dict[str, Any]:
    name = (identity.tenant if identity is not None else None) or _UNNAMED
    owner = {"id": _UNNAMED, "name": "Sidelight"}
    return {"id": name, "name": name, "organization": owner, "metadata": {}}


def _json(code: int, value: Any, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
