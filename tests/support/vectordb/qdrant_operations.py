"""What the stand-in for Qdrant does beside searches and plain writes, over REST and gRPC.

Matrices, facets, vectors, payload, batches of updates, and the administration of collections; each
answered by local mode, but for snapshots, which it does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as qdrant_grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

Answer = Callable[[Any, str, bytes], Any]
SNAPSHOT = models.SnapshotDescription(
    name="docs.snapshot", creation_time="2026-01-01T00:00:00", size=1
)


# ── REST ─────────────────────────────────────────────────────────────────────────────────


def _pairs(db: Any, name: str, body: bytes) -> Any:
    asked = models.SearchMatrixRequest.model_validate_json(body)
    return db.run(
        name,
        lambda client: client.search_matrix_pairs(name, limit=asked.limit, sample=asked.sample),
    )


def _offsets(db: Any, name: str, body: bytes) -> Any:
    asked = models.SearchMatrixRequest.model_validate_json(body)
    return db.run(
        name,
        lambda client: client.search_matrix_offsets(name, limit=asked.limit, sample=asked.sample),
    )


def _facet(db: Any, name: str, body: bytes) -> Any:
    asked = models.FacetRequest.model_validate_json(body)
    return db.run(name, lambda client: client.facet(name, asked.key, limit=asked.limit or 10))


def _vectors(db: Any, name: str, body: bytes) -> Any:
    asked = models.UpdateVectors.model_validate_json(body)
    return db.run(name, lambda client: client.update_vectors(name, asked.points))


def _batch(db: Any, name: str, body: bytes) -> Any:
    asked = models.UpdateOperations.model_validate_json(body)
    return db.run(name, lambda client: client.batch_update_points(name, asked.operations))


def _overwrite(db: Any, name: str, body: bytes) -> Any:
    asked = models.SetPayload.model_validate_json(body)
    points: list[Any] = [*(asked.points or [])]
    return db.run(name, lambda client: client.overwrite_payload(name, asked.payload, points))


def _delete_keys(db: Any, name: str, body: bytes) -> Any:
    asked = models.DeletePayload.model_validate_json(body)
    points: list[Any] = [*(asked.points or [])]
    return db.run(name, lambda client: client.delete_payload(name, asked.keys, points))


def _clear(db: Any, name: str, body: bytes) -> Any:
    selector: Any = TypeAdapter(models.PointsSelector).validate_json(body)
    return db.run(name, lambda client: client.clear_payload(name, selector))


def _index(db: Any, name: str, body: bytes) -> Any:
    asked = models.CreateFieldIndex.model_validate_json(body)
    return db.run(name, lambda client: client.create_payload_index(name, asked.field_name))


def _drop_index(db: Any, name: str, _body: bytes) -> Any:
    return db.run(name, lambda client: client.delete_payload_index(name, "source"))


def _aliases(db: Any, _name: str, body: bytes) -> Any:
    asked = models.ChangeAliasesOperation.model_validate_json(body)
    return db.run(None, lambda client: client.update_collection_aliases(asked.actions))


def _update(db: Any, name: str, _body: bytes) -> Any:
    return db.run(name, lambda client: client.update_collection(name))


def _snapshot(db: Any, name: str, _body: bytes) -> Any:
    return db.run(name, lambda _client: SNAPSHOT)


_COLLECTION = r"/collections/(?P<name>[^/]+)"
ROUTES: list[tuple[str, str, Answer]] = [
    ("POST", r"/collections/(?P<name>aliases)", _aliases),
    ("PATCH", _COLLECTION, _update),
    ("PUT", _COLLECTION + "/index", _index),
    ("DELETE", _COLLECTION + "/index/source", _drop_index),
    ("POST", _COLLECTION + "/snapshots", _snapshot),
    ("POST", _COLLECTION + "/facet", _facet),
    ("POST", _COLLECTION + "/points/search/matrix/pairs", _pairs),
    ("POST", _COLLECTION + "/points/search/matrix/offsets", _offsets),
    ("PUT", _COLLECTION + "/points/vectors", _vectors),
    ("POST", _COLLECTION + "/points/batch", _batch),
    ("PUT", _COLLECTION + "/points/payload", _overwrite),
    ("POST", _COLLECTION + "/points/payload/delete", _delete_keys),
    ("POST", _COLLECTION + "/points/payload/clear", _clear),
]


# ── gRPC ─────────────────────────────────────────────────────────────────────────────────


Work = Callable[[QdrantClient, str], Any]
_points_of = GrpcToRest.convert_points_selector

# By method, what is answered with the result of one update.
UPDATES: dict[str, Callable[[Any], Work]] = {
    "UpdateVectors": lambda asked: (
        lambda client, name: client.update_vectors(
            name, [GrpcToRest.convert_point_vectors(point) for point in asked.points]
        )
    ),
    "OverwritePayload": lambda asked: (
        lambda client, name: client.overwrite_payload(
            name, GrpcToRest.convert_payload(asked.payload), _points_of(asked.points_selector)
        )
    ),
    "DeletePayload": lambda asked: (
        lambda client, name: client.delete_payload(
            name, list(asked.keys), _points_of(asked.points_selector)
        )
    ),
    "ClearPayload": lambda asked: (
        lambda client, name: client.clear_payload(name, _points_of(asked.points))
    ),
    "CreateFieldIndex": lambda asked: (
        lambda client, name: client.create_payload_index(name, asked.field_name)
    ),
    "DeleteFieldIndex": lambda asked: (
        lambda client, name: client.delete_payload_index(name, asked.field_name)
    ),
}
# What is answered otherwise: the work, and its result and an envelope as a response.
READS: dict[str, tuple[Callable[[Any], Work], Callable[[Any, Any], Any]]] = {
    "Facet": (
        lambda asked: lambda client, name: client.facet(name, asked.key, limit=asked.limit),
        lambda found, envelope: qdrant_grpc.FacetResponse(
            hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in found.hits], **envelope
        ),
    ),
    "SearchMatrixPairs": (
        lambda asked: (
            lambda client, name: client.search_matrix_pairs(
                name, limit=asked.limit, sample=asked.sample
            )
        ),
        lambda found, envelope: qdrant_grpc.SearchMatrixPairsResponse(
            result=RestToGrpc.convert_search_matrix_pairs(found), **envelope
        ),
    ),
    "SearchMatrixOffsets": (
        lambda asked: (
            lambda client, name: client.search_matrix_offsets(
                name, limit=asked.limit, sample=asked.sample
            )
        ),
        lambda found, envelope: qdrant_grpc.SearchMatrixOffsetsResponse(
            result=RestToGrpc.convert_search_matrix_offsets(found), **envelope
        ),
    ),
    "UpdateBatch": (
        lambda asked: (
            lambda client, name: client.batch_update_points(
                name,
                [GrpcToRest.convert_points_update_operation(one) for one in asked.operations],
            )
        ),
        lambda found, envelope: qdrant_grpc.UpdateBatchResponse(
            result=[RestToGrpc.convert_update_result(one) for one in found], **envelope
        ),
    ),
}
