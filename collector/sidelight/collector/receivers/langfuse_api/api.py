"""The part of Langfuse's public API that its SDKs use to send traces.

Seen with the Langfuse SDK 5: it sends spans to the OTLP path below, and asks for its project to
check its keys. It posts scores and media to paths that are not served here.
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
        # Langfuse answers 200 and discards metrics; here they are stored.
        "/api/public/otel/v1/metrics": "metrics",
    }
)
_UNNAMED: Final = "sidelight"


def answer(request: HttpRequest, identity: Identity | None) -> HttpResponse:
    """The answer to a request below `PREFIX` that is not OTLP."""
    if request.path == HEALTH_PATH and request.method == "GET":
        return _json(200, {"status": "OK", "version": "sidelight"})
    if request.path == PROJECTS_PATH and request.method == "GET":
        return _json(200, {"data": [_project(identity)]})
    # Langfuse's own form of an error: its SDKs show the message to their user.
    return _json(
        404,
        {
            "message": "Sidelight accepts only traces and metrics here; send "
            f"{request.method} {request.path} to Langfuse itself, with a client for its URL",
            "error": "LangfuseNotFoundError",
        },
    )


def refusal(message: str) -> HttpResponse:
    """The answer to keys that are not valid, in Langfuse's form."""
    body = {"message": f"Invalid credentials: {message}", "error": "UnauthorizedError"}
    return _json(401, body, {"WWW-Authenticate": 'Basic realm="sidelight"'})


def _project(identity: Identity | None) -> dict[str, Any]:
    # The tenant of the keys is what comes closest to a project; SDKs only need one to exist.
    name = (identity.tenant if identity is not None else None) or _UNNAMED
    owner = {"id": _UNNAMED, "name": "Sidelight"}
    return {"id": name, "name": name, "organization": owner, "metadata": {}}


def _json(code: int, value: Any, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
