"""The overview: are requests served well, and if not, is it the batch, KV cache or retrieval?"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.boards import variables
from sidelight.dashboards.boards.board import Annotation, Board
from sidelight.dashboards.panels import (
    batching,
    collector,
    kv_cache,
    objectives,
    requests,
    retrieval,
    retrieval_quality,
)
from sidelight.dashboards.queries import engine
from sidelight.dashboards.view import GRAFANA

OF_ENGINES: Final = (
    Annotation("vLLM restarted", engine.restarts(GRAFANA), "{{instance}}", "purple"),
    # A deployment shows as both, since its pods have other addresses.
    Annotation("vLLM added", engine.added(GRAFANA), "{{instance}}", "blue"),
    Annotation("vLLM removed", engine.removed(GRAFANA), "{{instance}}", "gray"),
)

OVERVIEW: Final = Board(
    uid="sidelight-overview",
    title="Sidelight / Overview",
    question="Are requests served well, and if not, is it the batch, the KV cache or retrieval?",
    description=(
        "What an LLM service is doing and why it is slow: objectives, requests, KV cache, "
        "batching, retrieval, and the health of Sidelight."
    ),
    rows=(
        objectives.row(GRAFANA),
        requests.row(GRAFANA),
        kv_cache.row(GRAFANA),
        batching.row(GRAFANA),
        retrieval.row(GRAFANA),
        retrieval_quality.row(GRAFANA),
        collector.row(GRAFANA),
    ),
    variables=(
        variables.JOB,
        variables.NAMESPACE,
        variables.MODEL,
        variables.INSTANCE,
        variables.ENGINE,
        variables.DATABASE,
        variables.COLLECTION,
        variables.COLLECTOR,
        variables.TTFT_OBJECTIVE,
        variables.DURATION_OBJECTIVE,
        variables.TRACES,
    ),
    annotations=OF_ENGINES,
)
