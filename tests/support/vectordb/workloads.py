"""The same work with each client: written once, driven sync and async.

A workload is a generator that yields what a client's method returned: a sync client's result, or
an async client's coroutine. It is sent the result, or has the client's error thrown into it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from support.vectordb.qdrant_older import qdrant_older
from support.vectordb.record import SECRET, Called
from support.vectordb.vectors import DIMENSION, vector

RECORDS = 200
Work = Generator[Any, Any, None]


def text(seed: int) -> str:
    """The text of a record."""
    return f"chunk number {seed} about {SECRET}"


class Log:
    """What the workload called, in order."""

    def __init__(self, server: int | None) -> None:
        self.called: list[Called] = []
        self._server = server

    def __call__(self, operation: str, collection: str = "docs", **told: Any) -> None:
        self.called.append(Called(operation, collection, **told))

    @contextmanager
    def fails(self, operation: str, collection: str, **told: Any) -> Iterator[None]:
        """A call inside this block is to raise."""
        try:
            yield
        except Exception as error:  # whatever the client raises
            self.called.append(Called(operation, collection, **told).failed(error))
        else:
            raise AssertionError(f"{operation} {collection} did not raise")

    @property
    def has_server(self) -> bool:
        """Whether there is a server that can be killed."""
        return self._server is not None

    @contextmanager
    def stalled_server(self) -> Iterator[None]:
        """The server takes requests but answers none for as long as this block lasts."""
        assert self._server is not None
        _stop(self._server)
        try:
            yield
        finally:
            os.kill(self._server, signal.SIGCONT)

    def kill_server_in_mid_call(self) -> None:
        """Stops the server at once, so that the next call hangs, and kills it a little later."""
        assert self._server is not None
        _stop(self._server)
        threading.Timer(0.5, os.kill, (self._server, signal.SIGKILL)).start()


def _stop(pid: int) -> None:
    """Stops a process, every thread of it: on a busy machine it may run on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    end = time.monotonic() + 60
    while any(_state(thread) != "T" for thread in threads.iterdir()):
        assert time.monotonic() < end, f"{pid} does not stop"
        time.sleep(0.001)


def _state(thread: Path) -> str:
    """The state of a thread: it follows the program's name, which may hold anything, in braces."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def milvus(client: Any, log: Log) -> Work:
    """pymilvus: `MilvusClient` or `AsyncMilvusClient`."""
    from pymilvus import AnnSearchRequest, RRFRanker

    rows = [
        {"id": i, "vector": vector(i), "text": text(i), "source": i % 4} for i in range(RECORDS)
    ]
    asynchronous = type(client).__name__.startswith("Async")
    created = {"metric_type": "COSINE", "consistency_level": "Strong"}
    if asynchronous:
        # Milvus Lite lacks what the async client needs to create a collection.
        from pymilvus import MilvusClient

        address = (yield client._get_connection()).server_address
        MilvusClient(f"http://{address}").create_collection("docs", DIMENSION, **created)
    else:
        client.create_collection("docs", DIMENSION, **created)
    for operation in ("create_collection", "create_index", "load_collection"):
        log(operation)
    yield client.insert("docs", rows)
    log("insert", records=RECORDS)

    hits = yield client.search("docs", [vector(3)], filter="source == 3", limit=5)
    log("search", rows=len(hits[0]), queries=1, top=hits[0][0]["distance"])
    hits = yield client.search("docs", [vector(1), vector(2)], limit=4)
    mean = (hits[0][0]["distance"] + hits[1][0]["distance"]) / 2
    log("search", rows=8, queries=2, top=mean)
    hits = yield client.search("docs", [vector(3)], filter="source == 77", limit=5)
    log("search", rows=0, queries=1)

    branches = [AnnSearchRequest([vector(seed)], "vector", {}, 5) for seed in (1, 2)]
    fused = Called("hybrid_search", "docs", queries=1)
    try:
        hits = yield client.hybrid_search("docs", branches, RRFRanker(), limit=3)
        log("hybrid_search", rows=3, queries=1, top=hits[0][0]["distance"])
    except Exception as error:  # a server before 2.4 has no hybrid search
        log.called.append(fused.failed(error))

    yield from _milvus_groups(client, log, branches)
    if not asynchronous:
        yield from _milvus_iterators(client, log)
        yield from _milvus_orm(client, log)
    found = yield client.query("docs", filter="source == 1")
    log("query", rows=len(found))
    found = yield client.get("docs", ids=[1, 2, 3])
    log("query", rows=len(found))
    yield client.upsert("docs", [{**row, "text": "new"} for row in rows[:3]])
    log("upsert", records=3)
    yield client.delete("docs", ids=[1, 2, 3, 4, 5])
    log("delete", records=5)

    with log.fails("search", "missing", queries=1):
        yield client.search("missing", [vector(1)])
    with log.fails("search", "docs", queries=1):
        yield client.search("docs", [vector(1)], filter=f"text ((( '{SECRET}'")
    with log.fails("query", "docs"):
        yield client.query("docs", filter=f"id == '{SECRET}'")
    with log.fails("search", "docs", queries=1):
        yield client.search("docs", [[1.0, 2.0]])
    if log.has_server:
        with log.fails("search", "docs", queries=1), log.stalled_server():
            yield client.search("docs", [vector(1)], timeout=1)
        with log.fails("search", "docs", queries=1):
            log.kill_server_in_mid_call()
            yield client.search("docs", [vector(1)], timeout=3)
    else:
        yield client.drop_collection("docs")
        log("drop_collection")


def _milvus_groups(client: Any, log: Log, branches: list[Any]) -> Work:
    """Searches with one hit a group, where the server has them."""
    from pymilvus import RRFRanker

    for operation, arguments in (
        ("search", ([vector(3)],)),
        ("hybrid_search", (branches, RRFRanker())),
    ):
        grouped = Called(operation, "docs", queries=1)
        try:
            hits = yield getattr(client, operation)(
                "docs", *arguments, limit=3, group_by_field="source"
            )
        except Exception as error:  # a server before 2.4 or 2.5 has none
            log.called.append(grouped.failed(error))
        else:
            log(operation, rows=len(hits[0]), queries=1, top=hits[0][0]["distance"])


def _milvus_orm(client: Any, log: Log) -> Work:
    """The same collection through the ORM: a search, a future and an iterator."""
    from pymilvus import Collection, connections

    address = client._get_connection().server_address
    alias = "orm"
    if address.startswith("unix:"):
        alias = client._using  # up to pymilvus 2.5 the client itself is a connection of the ORM
    else:
        connections.connect(alias, address=address)
    docs = Collection("docs", using=alias)
    asked = ([vector(3)], "vector", {"metric_type": "COSINE"}, 4)
    hits = docs.search(*asked)
    log("search", rows=4, queries=1, top=hits[0].distances[0])
    hits = docs.search(*asked, _async=True).result()
    log("search", rows=4, queries=1, top=hits[0].distances[0])
    log("query", rows=len(docs.query("source == 2")))
    iterator = docs.query_iterator(batch_size=80, expr="source == 2")
    page = iterator.next()
    iterator.close()
    log("query_iterator", rows=len(page), pages=1)
    if alias == "orm":
        connections.disconnect(alias)
    yield None


def _milvus_iterators(client: Any, log: Log) -> Work:
    if not hasattr(client, "search_iterator"):
        return  # before pymilvus 2.5.3 only the ORM has iterators
    for operation, iterator in (
        ("search_iterator", client.search_iterator("docs", [vector(1)], batch_size=40, limit=100)),
        ("query_iterator", client.query_iterator("docs", batch_size=80)),
    ):
        sizes: list[int] = []
        while page := iterator.next():
            sizes.append(len(page))
        iterator.close()
        log(operation, rows=sum(sizes), pages=len(sizes))
    yield None


def qdrant(client: Any, log: Log) -> Work:
    """qdrant-client: `QdrantClient` or `AsyncQdrantClient`, in any mode."""
    from qdrant_client import models

    points = [
        models.PointStruct(id=i, vector=vector(i), payload={"text": text(i), "source": i % 4})
        for i in range(RECORDS)
    ]
    config = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    only = models.FieldCondition(key="source", match=models.MatchValue(value=3))
    none = models.FieldCondition(key="source", match=models.MatchValue(value=77))
    yield client.create_collection("docs", config)
    log("create_collection")
    yield client.upsert("docs", points)
    log("upsert", records=RECORDS)

    found = yield client.query_points(
        "docs", vector(3), query_filter=models.Filter(must=[only]), limit=5
    )
    log("query_points", rows=5, queries=1, top=found.points[0].score)
    batch = yield client.query_batch_points(
        "docs", [models.QueryRequest(query=vector(seed), limit=4) for seed in (1, 2)]
    )
    mean = (batch[0].points[0].score + batch[1].points[0].score) / 2
    log("query_batch_points", rows=8, queries=2, top=mean)
    yield client.query_points("docs", vector(3), query_filter=models.Filter(must=[none]))
    log("query_points", rows=0, queries=1)
    branches = [models.Prefetch(query=vector(seed), limit=5) for seed in (1, 2)]
    fused = models.FusionQuery(fusion=models.Fusion.RRF)
    found = yield client.query_points("docs", fused, prefetch=branches, limit=3)
    log("query_points", rows=3, queries=1, top=found.points[0].score)
    grouped = yield client.query_points_groups("docs", "source", vector(1), limit=2, group_size=2)
    best = [group.hits[0].score for group in grouped.groups]
    log(
        "query_points_groups",
        rows=sum(len(group.hits) for group in grouped.groups),
        queries=1,
        top=best[0],
    )

    offset = None
    while True:
        page, offset = yield client.scroll("docs", limit=80, offset=offset)
        log("scroll", rows=len(page))
        if offset is None:
            break
    kept = yield client.retrieve("docs", [1, 2, 3])
    log("retrieve", rows=len(kept))
    yield client.count("docs")
    log("count")
    yield client.upsert("docs", points[:3])
    log("upsert", records=3)
    yield from _qdrant_updates(client, log, points)
    if hasattr(client, "search"):
        yield from qdrant_older(client, log)
    yield from _qdrant_administration(client, log)
    yield client.delete("docs", [1, 2, 3, 4, 5])
    log("delete")

    with log.fails("query_points", "missing", queries=1):
        yield client.query_points("missing", vector(1))
    with log.fails("query_points", "docs", queries=1):
        yield client.query_points("docs", [1.0, 2.0])
    if log.has_server:
        with log.fails("query_points", "docs", queries=1), log.stalled_server():
            yield client.query_points("docs", vector(1), timeout=1)
        with log.fails("query_points", "docs", queries=1):
            log.kill_server_in_mid_call()
            yield client.query_points("docs", vector(1), timeout=3)
    else:
        yield client.delete_collection("docs")
        log("delete_collection")


def _qdrant_updates(client: Any, log: Log, points: list[Any]) -> Work:
    from qdrant_client import models

    pairs = yield client.search_matrix_pairs("docs", sample=10, limit=3)
    log("search_matrix_pairs", rows=len(pairs.pairs))
    offsets = yield client.search_matrix_offsets("docs", sample=10, limit=3)
    log("search_matrix_offsets", rows=len(offsets.scores))
    facet = yield client.facet("docs", key="source", limit=3)
    log("facet", rows=len(facet.hits))
    assert (len(pairs.pairs), len(offsets.scores), len(facet.hits)) >= (1, 1, 3)
    for operation, arguments in (
        ("set_payload", ({"seen": True}, [1])),
        ("overwrite_payload", ({"seen": 1}, [1, 2])),
        ("delete_payload", (["seen"], [1])),
        ("clear_payload", ([3],)),
        ("update_vectors", ([models.PointVectors(id=4, vector=vector(9))],)),
    ):
        yield getattr(client, operation)("docs", *arguments)
        log(operation)
    yield client.batch_update_points(
        "docs",
        [
            models.UpsertOperation(upsert=models.PointsList(points=points[:3])),
            models.DeleteOperation(delete=models.PointIdsList(points=[9])),
        ],
    )
    log("batch_update_points", records=3)
    # Both upload in the calling thread, also with the async client.
    yield client.upload_points("docs", points[:5], wait=True)
    log("upload_points", records=5)
    yield client.upload_collection("docs", [vector(1), vector(2)], ids=[1, 2], wait=True)
    log("upload_collection", records=2)


def _qdrant_administration(client: Any, log: Log) -> Work:
    from qdrant_client import models

    yield client.create_payload_index("docs", "source", models.PayloadSchemaType.INTEGER)
    log("create_payload_index")
    yield client.delete_payload_index("docs", "source")
    log("delete_payload_index")
    yield client.update_collection("docs", optimizers_config=models.OptimizersConfigDiff())
    log("update_collection")
    alias = models.CreateAlias(collection_name="docs", alias_name="papers")
    yield client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    log("update_collection_aliases", "")
    if log.has_server:
        yield client.create_snapshot("docs")
        log("create_snapshot")
    else:
        with log.fails("create_snapshot", "docs"):
            yield client.create_snapshot("docs")


def chroma(client: Any, log: Log) -> Work:
    """chromadb: an embedded client, an `HttpClient` or an `AsyncHttpClient`."""
    ids = [str(i) for i in range(RECORDS)]
    docs = yield client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}})
    log("create_collection")
    yield docs.add(
        ids=ids,
        embeddings=[vector(i) for i in range(RECORDS)],
        documents=[text(i) for i in range(RECORDS)],
        metadatas=[{"source": i % 4} for i in range(RECORDS)],
    )
    log("add", records=RECORDS)

    found = yield docs.query(query_embeddings=[vector(3)], where={"source": 3}, n_results=5)
    log("query", rows=5, queries=1, top=found["distances"][0][0])
    found = yield docs.query(query_embeddings=[vector(1), vector(2)], n_results=4)
    mean = (found["distances"][0][0] + found["distances"][1][0]) / 2
    log("query", rows=8, queries=2, top=mean)
    yield docs.query(query_embeddings=[vector(3)], where={"source": 77})
    log("query", rows=0, queries=1)
    for offset in range(0, RECORDS, 80):
        page = yield docs.get(limit=80, offset=offset)
        log("get", rows=len(page["ids"]))
    page = yield docs.peek(limit=7)
    log("peek", rows=7)
    yield docs.count()
    log("count")
    yield docs.update(ids=ids[:2], documents=["new"] * 2, embeddings=[vector(1), vector(2)])
    log("update", records=2)
    yield docs.upsert(ids=ids[:3], documents=["new"] * 3, embeddings=[vector(i) for i in range(3)])
    log("upsert", records=3)
    deleted = yield docs.delete(ids=ids[:5])
    # The client tells since 1.3 how many there were.
    log("delete", records=deleted["deleted"] if isinstance(deleted, dict) else None)
    yield from _chroma_administration(client, docs, log)
    with log.fails("query", "docs", queries=1):
        yield docs.query(query_embeddings=[vector(1)], where={"text": SECRET, "source": 1})
    with log.fails("add", "docs"):
        yield docs.add(ids=[SECRET, SECRET], embeddings=[vector(1), vector(2)])

    with log.fails("get_collection", "missing"):
        yield client.get_collection("missing")
    with log.fails("query", "docs", queries=1):
        yield docs.query(query_embeddings=[[1.0, 2.0]])
    if log.has_server:
        with log.fails("query", "docs", queries=1):
            log.kill_server_in_mid_call()
            yield docs.query(query_embeddings=[vector(1)])
    else:
        yield client.delete_collection("docs")
        log("delete_collection")


def _chroma_administration(client: Any, docs: Any, log: Log) -> Work:
    yield docs.modify(metadata={"topic": "papers"})
    log("modify")
    yield client.get_or_create_collection("docs")
    log("get_or_create_collection")
    # Look-ups have a span only if they fail; a server is not reset unless it is told to allow it.
    yield client.list_collections()
    yield client.count_collections()
    with log.fails("reset", ""):
        yield client.reset()
    # Only Chroma's cloud forks, and only it takes rank expressions.
    if hasattr(docs, "fork"):
        with log.fails("fork", "docs"):
            yield docs.fork("copy")
    if hasattr(docs, "search"):
        from chromadb import Knn, Search

        with log.fails("search", "docs", queries=1):
            yield docs.search(Search().rank(Knn(query=vector(1))).limit(3))


def drive(work: Work) -> None:
    """Runs a workload of a sync client."""
    result = None
    while True:
        try:
            result = work.send(result)
        except StopIteration:
            return


async def drive_async(work: Work) -> None:
    """Runs a workload of an async client."""
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            coroutine = step()
        except StopIteration:
            return
        try:
            result = await coroutine if hasattr(coroutine, "__await__") else coroutine
        except Exception as error:  # thrown back to where the call was made
            step = partial(work.throw, error)
        else:
            step = partial(work.send, result)
