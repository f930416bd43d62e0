"""The REST API of a Qdrant server, as far as the workload uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from pydantic import BaseModel, TypeAdapter
from qdrant_client import models

from support.vectordb import qdrant_operations
from support.vectordb.qdrant_local import HARDWARE, SECONDS, LocalQdrant, RefusedError


class Rest(BaseHTTPRequestHandler):
    """The routes that the workload uses."""

    protocol_version = "HTTP/1.1"
    database: LocalQdrant

    def _serve(self) -> None:
        path, _, _ = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        for method, pattern, answer in _ROUTES:
            matched = re.fullmatch(pattern, path)
            if method == self.command and matched:
                try:
                    result = answer(self.database, matched["name"], body)
                except RefusedError as refused:
                    self._send(refused.status, {"status": {"error": str(refused)}, "time": 0.0})
                else:
                    self._send(
                        200,
                        {
                            "result": result,
                            "status": "ok",
                            "time": SECONDS,
                            "usage": {"hardware": HARDWARE},
                        },
                    )
                return
        self._send(404, {"status": {"error": f"no route {self.command} {path}"}})

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer, default=_plain).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)


def _create(db: LocalQdrant, name: str, body: bytes) -> Any:
    request = models.CreateCollection.model_validate_json(body)
    return db.run(None, lambda client: client.create_collection(name, request.vectors))


def _upsert(db: LocalQdrant, name: str, body: bytes) -> Any:
    request = TypeAdapter(models.PointInsertOperations).validate_json(body)
    points = request.points if isinstance(request, models.PointsList) else request.batch
    return db.run(name, lambda client: client.upsert(name, points))


def _query(db: LocalQdrant, name: str, body: bytes) -> Any:
    return db.query(name, models.QueryRequest.model_validate_json(body))


def _batch(db: LocalQdrant, name: str, body: bytes) -> Any:
    request = models.QueryRequestBatch.model_validate_json(body)
    return [db.query(name, one) for one in request.searches]


def _groups(db: LocalQdrant, name: str, body: bytes) -> Any:
    return db.groups(name, models.QueryGroupsRequest.model_validate_json(body))


def _scroll(db: LocalQdrant, name: str, body: bytes) -> Any:
    request = models.ScrollRequest.model_validate_json(body)
    points, offset = db.run(
        name, lambda client: client.scroll(name, limit=request.limit or 10, offset=request.offset)
    )
    return {"points": points, "next_page_offset": offset}


def _retrieve(db: LocalQdrant, name: str, body: bytes) -> Any:
    request = models.PointRequest.model_validate_json(body)
    return db.run(name, lambda client: client.retrieve(name, request.ids))


def _count(db: LocalQdrant, name: str, _body: bytes) -> Any:
    return db.run(name, lambda client: client.count(name))


def _set_payload(db: LocalQdrant, name: str, body: bytes) -> Any:
    request = models.SetPayload.model_validate_json(body)
    points: list[Any] = [*(request.points or [])]
    return db.run(name, lambda client: client.set_payload(name, request.payload, points=points))


def _delete(db: LocalQdrant, name: str, body: bytes) -> Any:
    selector = TypeAdapter(models.PointsSelector).validate_json(body)
    return db.run(name, lambda client: client.delete(name, selector))


def _drop(db: LocalQdrant, name: str, _body: bytes) -> Any:
    return db.run(name, lambda client: client.delete_collection(name))


def _info(db: LocalQdrant, name: str, _body: bytes) -> Any:
    return db.run(name, lambda client: client.get_collection(name))


_COLLECTION = r"/collections/(?P<name>[^/]+)"
_ROUTES: list[tuple[str, str, Callable[[LocalQdrant, str, bytes], Any]]] = [
    ("PUT", _COLLECTION, _create),
    ("GET", _COLLECTION, _info),
    ("DELETE", _COLLECTION, _drop),
    ("PUT", _COLLECTION + "/points", _upsert),
    ("POST", _COLLECTION + "/points", _retrieve),
    ("POST", _COLLECTION + "/points/query", _query),
    ("POST", _COLLECTION + "/points/query/batch", _batch),
    ("POST", _COLLECTION + "/points/query/groups", _groups),
    ("POST", _COLLECTION + "/points/scroll", _scroll),
    ("POST", _COLLECTION + "/points/count", _count),
    ("POST", _COLLECTION + "/points/payload", _set_payload),
    ("POST", _COLLECTION + "/points/delete", _delete),
    *qdrant_operations.ROUTES,
]
