"""The boards behind the overview, one a topic: the overview's rows, and more on each."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.boards import variables
from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.overview import OF_ENGINES
from sidelight.dashboards.panels import (
    batching,
    batching_details,
    collector,
    collector_details,
    fleet,
    gpus,
    injector,
    kv_cache,
    kv_cache_details,
    kv_events,
    milvus,
    qdrant,
    request_details,
    requests,
    retrieval,
    retrieval_details,
    retrieval_quality,
    usage,
)
from sidelight.dashboards.view import GRAFANA

_VARIABLES: Final = (
    variables.JOB,
    variables.NAMESPACE,
    variables.MODEL,
    variables.INSTANCE,
    variables.ENGINE,
    variables.TRACES,
)

REQUESTS: Final = Board(
    uid="sidelight-requests",
    title="Sidelight / Requests",
    question="How long do requests take, and what delays them?",
    description="How long requests take, how that is distributed, and what delays them.",
    rows=(requests.row(GRAFANA), request_details.row(GRAFANA)),
    variables=_VARIABLES,
    annotations=OF_ENGINES,
)
KV_CACHE: Final = Board(
    uid="sidelight-kv-cache",
    title="Sidelight / KV cache",
    question="Is the KV cache large enough, and what does it save?",
    description="How full the KV cache is, what it saves, what is evicted too early, and what a "
    "larger one would give.",
    rows=(kv_cache.row(GRAFANA), kv_cache_details.row(GRAFANA), kv_events.row(GRAFANA)),
    variables=_VARIABLES,
    annotations=OF_ENGINES,
)
BATCHING: Final = Board(
    uid="sidelight-batching",
    title="Sidelight / Batching",
    question="What does an engine step hold, and why do requests wait?",
    description="What a step of the engine holds, how long it takes, and why requests wait.",
    rows=(batching.row(GRAFANA), batching_details.row(GRAFANA)),
    variables=_VARIABLES,
    annotations=OF_ENGINES,
)
FLEET: Final = Board(
    uid="sidelight-fleet",
    title="Sidelight / Fleet",
    question="Does each vLLM server carry its share of the load?",
    description="Which vLLM servers there are, how the load is spread over them, and what their "
    "GPUs do.",
    rows=(fleet.row(GRAFANA), gpus.row(GRAFANA)),
    variables=_VARIABLES,
    annotations=OF_ENGINES,
)
RETRIEVAL: Final = Board(
    uid="sidelight-retrieval",
    title="Sidelight / Retrieval",
    question="Do searches find what they should, and fast enough?",
    description="How long searches take, what they find, whether they find what they used to, and "
    "what the database's servers do.",
    rows=(
        retrieval.row(GRAFANA),
        retrieval_quality.row(GRAFANA),
        retrieval_details.row(GRAFANA),
        milvus.row(GRAFANA),
        qdrant.row(GRAFANA),
    ),
    variables=(
        variables.DATABASE,
        variables.COLLECTION,
        variables.DATABASE_SERVER,
        variables.TRACES,
    ),
    annotations=(),
)
COST: Final = Board(
    uid="sidelight-cost",
    title="Sidelight / Cost and tenants",
    question="Who uses how many tokens, and what do they cost?",
    description="Tokens and cost of model calls, by model and by the service that called.",
    rows=(usage.row(GRAFANA),),
    variables=(variables.MODEL_OF_SPANS, variables.TRACES),
    annotations=(),
)
COLLECTOR: Final = Board(
    uid="sidelight-collector",
    title="Sidelight / Collector",
    question="Does everything that is received reach its destinations?",
    description="What the collector receives, delivers, leaves out and loses, and what the "
    "injector does with pods.",
    rows=(collector.row(GRAFANA), collector_details.row(GRAFANA), injector.row(GRAFANA)),
    variables=(variables.COLLECTOR, variables.TRACES),
    annotations=(),
)
