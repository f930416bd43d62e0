"""A stand-in for a Qdrant server, over REST and gRPC, that answers from a real local-mode client.

There is no Qdrant server package to install. What a client sends is parsed by qdrant-client's
own models, answered by its local mode, and sent back in the server's envelope, with a `time`
and a `usage`, and with the server's status codes. Prints its two ports as one line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as qdrant_grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import (
    collections_service_pb2_grpc,
    points_service_pb2_grpc,
    snapshots_service_pb2_grpc,
)

from support.vectordb import qdrant_operations

SECONDS = 0.00125
HARDWARE = {
    "cpu": 7, "payload_io_read": 1, "payload_io_write": 2, "payload_index_io_read": 3,
    "payload_index_io_write": 4, "vector_io_read": 5, "vector_io_write": 6,
}  # fmt: skip


class RefusedError(Exception):
    """What a server refuses, with the status it answers with."""

    def __init__(self, status: int, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class LocalQdrant:
    """Local mode behind a lock; its errors become a server's."""

    def __init__(self) -> None:
        self._client = QdrantClient(":memory:")
        self._lock = threading.Lock()

    def run(self, collection: str | None, work: Callable[[QdrantClient], Any]) -> Any:
        """Does `work`. Raises `RefusedError`."""
        with self._lock:
            if collection is not None and not self._client.collection_exists(collection):
                raise RefusedError(
                    404,
                    grpc.StatusCode.NOT_FOUND,
                    f"Not found: Collection `{collection}` doesn't exist!",
                )
            try:
                return work(self._client)
            except ValueError as error:
                raise RefusedError(
                    400, grpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {error}"
                ) from error

    def query(self, collection: str, request: models.QueryRequest) -> models.QueryResponse:
        """One query."""
        found: models.QueryResponse = self.run(
            collection,
            lambda client: client.query_points(
                collection,
                query=request.query,
                prefetch=request.prefetch,
                using=request.using,
                query_filter=request.filter,
                limit=request.limit or 10,
                offset=request.offset,
                with_payload=_given(request.with_payload),
                with_vectors=request.with_vector or False,
            ),
        )
        return found

    def groups(self, collection: str, request: Any) -> models.GroupsResult:
        """One query with its points in groups."""
        found: models.GroupsResult = self.run(
            collection,
            lambda client: client.query_points_groups(
                collection,
                group_by=request.group_by,
                query=request.query,
                limit=request.limit or 10,
                group_size=request.group_size or 3,
            ),
        )
        return found


def _given(with_payload: Any) -> Any:
    return True if with_payload is None else with_payload


# ── REST ─────────────────────────────────────────────────────────────────────────────────


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


# ── gRPC ─────────────────────────────────────────────────────────────────────────────────

_USAGE = qdrant_grpc.Usage(hardware=qdrant_grpc.HardwareUsage(**HARDWARE))
_ENVELOPE: dict[str, Any] = {"time": SECONDS, "usage": _USAGE}


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    """A servicer method whose refusals become gRPC statuses."""

    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except RefusedError as refused:
            return context.abort(refused.code, str(refused))

    return answer


class Points(points_service_pb2_grpc.PointsServicer):
    """The methods on points that the workload uses."""

    def __init__(self, database: LocalQdrant) -> None:
        self._db = database

    @_answering
    def Query(self, request: Any, _context: Any) -> Any:  # noqa: N802
        found = self._db.query(request.collection_name, GrpcToRest.convert_query_points(request))
        return qdrant_grpc.QueryResponse(result=_scored(found.points), **_ENVELOPE)

    @_answering
    def QueryBatch(self, request: Any, _context: Any) -> Any:  # noqa: N802
        results = [
            self._db.query(request.collection_name, GrpcToRest.convert_query_points(one))
            for one in request.query_points
        ]
        batches = [qdrant_grpc.BatchResult(result=_scored(one.points)) for one in results]
        return qdrant_grpc.QueryBatchResponse(result=batches, **_ENVELOPE)

    @_answering
    def QueryGroups(self, request: Any, _context: Any) -> Any:  # noqa: N802
        asked = models.QueryGroupsRequest(
            query=GrpcToRest.convert_query(request.query),
            group_by=request.group_by,
            limit=request.limit,
            group_size=request.group_size,
        )
        found = self._db.groups(request.collection_name, asked)
        groups = RestToGrpc.convert_groups_result(found)
        return qdrant_grpc.QueryGroupsResponse(result=groups, **_ENVELOPE)

    @_answering
    def Upsert(self, request: Any, _context: Any) -> Any:  # noqa: N802
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        return self._update(request, lambda client, name: client.upsert(name, points))

    @_answering
    def SetPayload(self, request: Any, _context: Any) -> Any:  # noqa: N802
        payload = GrpcToRest.convert_payload(request.payload)
        selector = GrpcToRest.convert_points_selector(request.points_selector)
        return self._update(
            request, lambda client, name: client.set_payload(name, payload, points=selector)
        )

    @_answering
    def Delete(self, request: Any, _context: Any) -> Any:  # noqa: N802
        selector = GrpcToRest.convert_points_selector(request.points)
        return self._update(request, lambda client, name: client.delete(name, selector))

    @_answering
    def Scroll(self, request: Any, _context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        offset = GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None
        points, following = self._db.run(
            name, lambda client: client.scroll(name, limit=request.limit, offset=offset)
        )
        return qdrant_grpc.ScrollResponse(
            result=[RestToGrpc.convert_retrieved_point(point) for point in points],
            next_page_offset=None
            if following is None
            else RestToGrpc.convert_extended_point_id(following),
            **_ENVELOPE,
        )

    @_answering
    def Get(self, request: Any, _context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        ids = [GrpcToRest.convert_point_id(one) for one in request.ids]
        points = self._db.run(name, lambda client: client.retrieve(name, ids))
        found = [RestToGrpc.convert_retrieved_point(point) for point in points]
        return qdrant_grpc.GetResponse(result=found, **_ENVELOPE)

    @_answering
    def Count(self, request: Any, _context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        found = self._db.run(name, lambda client: client.count(name))
        return qdrant_grpc.CountResponse(
            result=qdrant_grpc.CountResult(count=found.count), **_ENVELOPE
        )

    def _update(self, request: Any, work: Callable[[QdrantClient, str], Any]) -> Any:
        name = request.collection_name
        result = self._db.run(name, lambda client: work(client, name))
        return qdrant_grpc.PointsOperationResponse(
            result=RestToGrpc.convert_update_result(result), **_ENVELOPE
        )


def _update_method(work_of: Callable[[Any], Any]) -> Callable[..., Any]:
    return _answering(lambda self, request, _context: self._update(request, work_of(request)))


def _read_method(
    work_of: Callable[[Any], Any], response: Callable[[Any, Any], Any]
) -> Callable[..., Any]:
    def read(self: Any, request: Any, _context: Any) -> Any:
        name = request.collection_name
        found = self._db.run(name, lambda client: work_of(request)(client, name))
        return response(found, _ENVELOPE)

    return _answering(read)


for _name, _work_of in qdrant_operations.UPDATES.items():
    setattr(Points, _name, _update_method(_work_of))
for _name, (_work_of, _response) in qdrant_operations.READS.items():
    setattr(Points, _name, _read_method(_work_of, _response))


class Collections(collections_service_pb2_grpc.CollectionsServicer):
    """The methods on collections that the workload uses."""

    def __init__(self, database: LocalQdrant) -> None:
        self._db = database

    @_answering
    def Create(self, request: Any, _context: Any) -> Any:  # noqa: N802
        vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        name = request.collection_name
        self._db.run(None, lambda client: client.create_collection(name, vectors))
        return qdrant_grpc.CollectionOperationResponse(result=True, time=SECONDS)

    @_answering
    def Update(self, request: Any, _context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        self._db.run(name, lambda client: client.update_collection(name))
        return qdrant_grpc.CollectionOperationResponse(result=True, time=SECONDS)

    @_answering
    def UpdateAliases(self, request: Any, _context: Any) -> Any:  # noqa: N802
        actions = [GrpcToRest.convert_alias_operations(one) for one in request.actions]
        self._db.run(None, lambda client: client.update_collection_aliases(actions))
        return qdrant_grpc.CollectionOperationResponse(result=True, time=SECONDS)


class Snapshots(snapshots_service_pb2_grpc.SnapshotsServicer):
    """A snapshot that is always the same, as local mode has none."""

    def Create(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        description = RestToGrpc.convert_snapshot_description(qdrant_operations.SNAPSHOT)
        return qdrant_grpc.CreateSnapshotResponse(snapshot_description=description, time=SECONDS)


def _scored(points: list[models.ScoredPoint]) -> list[Any]:
    return [RestToGrpc.convert_scored_point(point) for point in points]


def main() -> None:
    """Serves until killed."""
    database = LocalQdrant()
    Rest.database = database
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    rest.daemon_threads = True
    server = grpc.server(ThreadPoolExecutor(4))
    add_points: Callable[..., None] = points_service_pb2_grpc.add_PointsServicer_to_server
    add_collections: Callable[..., None] = (
        collections_service_pb2_grpc.add_CollectionsServicer_to_server
    )
    add_points(Points(database), server)
    add_collections(Collections(database), server)
    add_snapshots: Callable[..., None] = snapshots_service_pb2_grpc.add_SnapshotsServicer_to_server
    add_snapshots(Snapshots(), server)
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(json.dumps({"rest": rest.server_port, "grpc": grpc_port}) + "\n")
    sys.stdout.flush()
    rest.serve_forever()


if __name__ == "__main__":
    main()
