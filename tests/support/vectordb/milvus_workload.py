"""The work with Milvus."""

from __future__ import annotations

from typing import Any

from support.vectordb.record import SECRET, Called
from support.vectordb.vectors import DIMENSION, vector
from support.vectordb.workload import RECORDS, Log, Work, text


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
