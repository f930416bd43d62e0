"""What spans say of Qdrant's errors, in local mode."""

from __future__ import annotations

from dataclasses import replace

import pytest
from qdrant_client import QdrantClient, models

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from support.recording import Recording
from support.vectordb.leaks import SECRET, tells_secret


def test_errors_hold_no_content() -> None:
    """Ids that a message names leave the process only where text may."""
    settings = Settings(capture_content="off")
    shown: list[bool] = []
    for policy in (settings, replace(settings, capture_content="full")):
        recording = Recording()
        qdrant.instrument(recording.tracer_provider, recording.meter_provider, policy)
        client = QdrantClient(":memory:")
        config = models.VectorParams(size=2, distance=models.Distance.DOT)
        client.create_collection("docs", config)
        point = models.PointStruct(id=SECRET, vector=[1.0, 0.0], payload={"text": SECRET})
        with pytest.raises(ValueError, match=SECRET):
            client.upsert("docs", [point])
        with pytest.raises(ValueError, match=SECRET):
            client.query_points("docs", query=SECRET)
        qdrant.uninstrument()
        shown += [tells_secret(span) for span in recording.spans() if not span.status.is_ok]
        recording.close()

    assert shown == [False, False, True, True]
