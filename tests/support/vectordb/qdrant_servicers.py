"""The gRPC API of a Qdrant server, as far as the workload uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as qdrant_grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import (
    collections_service_pb2_grpc,
    points_service_pb2_grpc,
    snapshots_service_pb2_grpc,
)

from support.vectordb import qdrant_operations
from support.vectordb.qdrant_local import HARDWARE, SECONDS, LocalQdrant, RefusedError

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
