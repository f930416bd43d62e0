"""The work with Chroma."""

from __future__ import annotations

from typing import Any

from support.vectordb.record import SECRET
from support.vectordb.vectors import vector
from support.vectordb.workload import RECORDS, Log, Work, text


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
