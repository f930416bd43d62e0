"""Methods of a client are replaced, and every original is restored."""

from __future__ import annotations

from typing import Any

from qdrant_client import QdrantClient, models

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from support.recording import Recording


def test_what_others_put_around_a_method_stays() -> None:
    """Taking ours off leaves a wrapper that came later in place, and observes nothing more."""
    recording = Recording()
    original = QdrantClient.query_points
    counted = []

    qdrant.instrument(recording.tracer_provider, recording.meter_provider, Settings())
    ours = QdrantClient.query_points

    def theirs(client: QdrantClient, *args: Any, **kwargs: Any) -> Any:
        counted.append(1)
        return ours(client, *args, **kwargs)

    QdrantClient.query_points = theirs  # type: ignore[assignment, method-assign]
    try:
        qdrant.uninstrument()
        client = QdrantClient(":memory:")
        client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
        client.query_points("docs", query=[1.0, 0.0])
    finally:
        QdrantClient.query_points = original  # type: ignore[method-assign]

    assert counted == [1]
    assert recording.spans() == []
