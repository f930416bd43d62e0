"""A real Milvus Lite for these tests, filled once, and recordings of what is observed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import SpanLimits
from pymilvus import MilvusClient

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import milvus
from support.recording import Recording
from support.vectordb.milvus_lite import DIMENSION, Observe, vector


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusClient]:
    """A client of a Milvus Lite in this process, with 50 records in `docs`."""
    folder: Path = tmp_path_factory.mktemp("milvus")
    client = MilvusClient(str(folder / "lite.db"))
    client.create_collection("docs", dimension=DIMENSION, metric_type="COSINE")
    client.insert(
        "docs",
        [
            {"id": i, "vector": vector(i), "text": f"chunk {i}", "source": f"file-{i}.md"}
            for i in range(50)
        ],
    )
    yield client
    client.close()


@pytest.fixture
def observe() -> Iterator[Observe]:
    """Observes pymilvus with the given settings until the test is over."""
    recordings: list[Recording] = []

    def start(settings: Settings | None = None, limits: SpanLimits | None = None) -> Recording:
        recording = Recording(limits)
        recordings.append(recording)
        milvus.instrument(
            recording.tracer_provider, recording.meter_provider, settings or Settings()
        )
        return recording

    yield start
    milvus.uninstrument()
    for recording in recordings:
        recording.close()
