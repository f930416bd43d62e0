"""Qdrant's local mode as a database of several clients, with the refusals of a server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
from qdrant_client import QdrantClient, models

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
