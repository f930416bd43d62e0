"""What qdrant-client up to 1.15 has beside `query_points`, as a part of the workload."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from support.vectordb.vectors import vector


def qdrant_older(client: Any, log: Any) -> Generator[Any, Any, None]:
    """Searches, recommendations, discoveries, their batches and groups, and an upload."""
    import qdrant_client

    # Newer clients, which the types are checked with, lack some of these models.
    models: Any = qdrant_client.models

    found = yield client.search("docs", vector(3), limit=4)
    log("search", rows=4, queries=1, top=found[0].score)
    requests = [models.SearchRequest(vector=vector(seed), limit=2) for seed in (1, 2)]
    batch = yield client.search_batch("docs", requests)
    log("search_batch", rows=4, queries=2, top=_mean(batch))
    grouped = yield client.search_groups("docs", vector(1), "source", limit=2, group_size=1)
    hits = [group.hits[0].score for group in grouped.groups]
    log("search_groups", rows=len(hits), queries=1, top=hits[0])

    found = yield client.recommend("docs", positive=[1, 2], limit=3)
    log("recommend", rows=3, queries=1, top=found[0].score)
    batch = yield client.recommend_batch(
        "docs", [models.RecommendRequest(positive=[seed], limit=2) for seed in (1, 2)]
    )
    log("recommend_batch", rows=4, queries=2, top=_mean(batch))
    grouped = yield client.recommend_groups("docs", "source", positive=[1], limit=2, group_size=1)
    hits = [group.hits[0].score for group in grouped.groups]
    log("recommend_groups", rows=len(hits), queries=1, top=hits[0])

    pair = models.ContextExamplePair(positive=1, negative=2)
    found = yield client.discover("docs", target=3, context=[pair], limit=3)
    log("discover", rows=3, queries=1, top=found[0].score)
    batch = yield client.discover_batch(
        "docs", [models.DiscoverRequest(target=3, context=[pair], limit=2)]
    )
    log("discover_batch", rows=2, queries=1, top=_mean(batch))

    records = [models.Record(id=number, vector=vector(number)) for number in (1, 2)]
    yield client.upload_records("docs", records, wait=True)
    log("upload_records", records=2)
    with log.fails("search", "missing", queries=1):
        yield client.search("missing", vector(1))
    with log.fails("recommend", "missing", queries=1):
        yield client.recommend("missing", positive=[1])


def _mean(batch: Any) -> float:
    return float(sum(found[0].score for found in batch) / len(batch))
