"""Runs the workload of one client mode, observed, and prints the outcome as JSON.

Started with the Python of an environment that has the client:
`python -m support.vectordb.run MODE [--address HOST:PORT] [--grpc-port PORT] [--server PID]`
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint

import sidelight.instrumentation
from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from support.recording import Recording
from support.vectordb.chroma_workload import chroma
from support.vectordb.milvus_workload import milvus
from support.vectordb.qdrant_workload import qdrant
from support.vectordb.record import Outcome, Seen
from support.vectordb.workload import Log, drive, drive_async

METRICS = (
    names.DB_CLIENT_DURATION,
    names.DB_CLIENT_RETURNED_ROWS,
    names.VECTOR_TOP_SCORE,
    names.INSTRUMENTATION_FAULTS,
)


def main() -> None:
    """Runs one mode."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--address", default="")
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--server", type=int)
    parser.add_argument("--content", default="off")
    options = parser.parse_args()
    recording = Recording()
    sidelight.instrumentation.instrument(
        recording.tracer_provider,
        recording.meter_provider,
        Settings(capture_content=options.content),
    )
    log = Log(options.server)
    mode = MODES[options.mode]
    if options.mode.endswith("-async"):
        asyncio.run(_run_async(mode, options, log))
    else:
        client, work = mode(options)
        drive(work(client, log))
    outcome = Outcome(
        tuple(log.called),
        tuple(Seen.of(span) for span in recording.spans()),
        {name: _total(recording, name) for name in METRICS},
    )
    sys.stdout.write(outcome.to_json())


async def _run_async(mode: Callable[[Any], Any], options: Any, log: Log) -> None:
    client, work = mode(options)
    if asyncio.iscoroutine(client):
        client = await client
    await drive_async(work(client, log))


def _total(recording: Recording, name: str) -> float:
    return sum(
        point.count if isinstance(point, HistogramDataPoint) else point.value
        for point in recording.points(name)
    )


def _milvus(options: Any) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(options.address), milvus


def _milvus_async(options: Any) -> Any:
    from pymilvus import AsyncMilvusClient

    return AsyncMilvusClient(options.address), milvus


def _qdrant(name: str, **local: Any) -> Callable[[Any], Any]:
    def connect(options: Any) -> Any:
        import qdrant_client

        where = local
        if options.address:
            where = {"url": options.address, "check_compatibility": False}
        if options.grpc_port:
            where |= {"grpc_port": options.grpc_port, "prefer_grpc": True}
        return getattr(qdrant_client, name)(**where), qdrant

    return connect


def _chroma_embedded(_options: Any) -> Any:
    import chromadb

    return chromadb.EphemeralClient(), chroma


def _chroma(options: Any) -> Any:
    import chromadb

    host, _, port = options.address.rpartition(":")
    return chromadb.HttpClient(host=host, port=int(port)), chroma


def _chroma_async(options: Any) -> Any:
    import chromadb

    host, _, port = options.address.rpartition(":")
    return chromadb.AsyncHttpClient(host=host, port=int(port)), chroma


MODES: dict[str, Callable[[Any], Any]] = {
    "milvus": _milvus,
    "milvus-async": _milvus_async,
    "qdrant": _qdrant("QdrantClient", location=":memory:"),
    "qdrant-async": _qdrant("AsyncQdrantClient", location=":memory:"),
    "chroma-embedded": _chroma_embedded,
    "chroma": _chroma,
    "chroma-async": _chroma_async,
}

if __name__ == "__main__":
    main()
