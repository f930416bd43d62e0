"""The work with Qdrant."""

from __future__ import annotations

from typing import Any

from support.vectordb.qdrant_older import qdrant_older
from support.vectordb.vectors import DIMENSION, vector
from support.vectordb.workload import RECORDS, Log, Work, text


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
