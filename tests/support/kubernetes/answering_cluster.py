"""As much of an API server as `helm template --dry-run=server` asks: kinds, and some objects."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.helm import Object


@contextmanager
def answering_cluster(known: Iterable[Object], present: Iterable[Object]) -> Iterator[str]:
    """The URL of a cluster that knows the kinds of some objects, and has others of these kinds."""
    answers = _kinds(known) | {_path(one): one for one in present}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """An object, or that there is none."""
            answer = answers.get(self.path.partition("?")[0])
            body = json.dumps(answer or _ABSENT).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


_ABSENT: Object = {
    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
}  # fmt: skip


def _plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _path(one: Object) -> str:
    place = one["metadata"]
    return (
        f"{_root(one['apiVersion'])}/namespaces/{place['namespace']}/{_plural(one['kind'])}/"
        f"{place['name']}"
    )


def _kinds(objects: Iterable[Object]) -> dict[str, Object]:
    """The answers of discovery."""
    kinds: dict[str, set[str]] = {"v1": set()}
    for one in objects:
        kinds.setdefault(one["apiVersion"], set()).add(one["kind"])
    groups = []
    for version in sorted(kinds.keys() - {"v1"}):
        name, _, bare = version.partition("/")
        served = {"groupVersion": version, "version": bare}
        groups.append({"name": name, "versions": [served], "preferredVersion": served})
    lists = {
        _root(version): {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [
                {"name": _plural(kind), "namespaced": True, "kind": kind, "verbs": ["get"]}
                for kind in sorted(names)
            ],
        }
        for version, names in kinds.items()
    }
    return {
        **lists,
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
