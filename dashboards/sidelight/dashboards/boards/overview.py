"""The overview: are requests served well, and if not, is it batch, KV cache or retrieval?"""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.catalog.vllm import (
    GENERATION_TOKENS,
    PREFIXES,
    PROCESS_START,
    RUNNING,
)
from sidelight.dashboards.panels.batching import BATCHING
from sidelight.dashboards.panels.collector import HEALTH
from sidelight.dashboards.panels.kv_cache import KV_CACHE
from sidelight.dashboards.panels.objectives import (
    DURATION_CHOICES,
    DURATION_DEFAULT,
    OBJECTIVES,
    TTFT_CHOICES,
    TTFT_DEFAULT,
)
from sidelight.dashboards.panels.panel import (
    Annotation,
    Board,
    ChoiceVariable,
    LabelVariable,
    TextVariable,
)
from sidelight.dashboards.panels.requests import RED
from sidelight.dashboards.panels.retrieval import RETRIEVAL
from sidelight.dashboards.panels.retrieval_quality import RETRIEVAL_QUALITY
from sidelight.dashboards.promql import (
    RATE_WINDOW,
    Binary,
    Call,
    Number,
    Selector,
    Window,
    highest,
)
from sidelight.dashboards.queries.series import ENGINE_FILTER, counter_resets, own

_JOB, _INSTANCE, _MODEL, _ENGINE = ENGINE_FILTER
_ENGINES: Final = Selector(tuple(f"{prefix}{RUNNING.names[0].name}" for prefix in PREFIXES))

VARIABLES: Final = (
    LabelVariable(
        "job",
        "Job",
        "Prometheus job of the vLLM servers. Where vLLM is scraped both directly and through "
        "Sidelight's collector, choose one: choosing both counts each engine twice.",
        _ENGINES,
        "job",
        everything=".+",
        offers_all=False,
    ),
    LabelVariable(
        "model",
        "Model",
        "Served model. LoRA adapters count under their base model in vLLM's own metrics.",
        _ENGINES.where(_JOB),
        "model_name",
        everything=".*",
    ),
    LabelVariable(
        "instance",
        "Instance",
        "vLLM server.",
        _ENGINES.where(_JOB, _MODEL),
        "instance",
        everything=".+",
    ),
    LabelVariable(
        "engine",
        "Engine",
        "Data-parallel rank.",
        _ENGINES.where(_JOB, _MODEL, _INSTANCE),
        "engine",
        everything=".*",
    ),
    LabelVariable(
        "collector",
        "Collector",
        "Sidelight collector.",
        own(names.COLLECTOR_RECEIVED, "_total"),
        "instance",
        everything=".*",
    ),
    ChoiceVariable(
        "ttft_objective",
        "TTFT objective",
        "Requests whose first token takes longer than this miss the objective.",
        TTFT_CHOICES,
        TTFT_DEFAULT,
    ),
    ChoiceVariable(
        "duration_objective",
        "Duration objective",
        "Requests that take longer than this in all miss the objective.",
        DURATION_CHOICES,
        DURATION_DEFAULT,
    ),
    TextVariable(
        "traces",
        "Trace UI",
        "Where traces are shown, for instance Phoenix or Langfuse.",
        "http://localhost:6006",
    ),
)

_STARTED: Final = Call(
    "changes", (Window(Selector((PROCESS_START,), (_JOB, _INSTANCE)), RATE_WINDOW),)
)
RESTARTS: Final = Annotation(
    "vLLM restarted",
    Binary(
        Binary(highest(counter_resets(GENERATION_TOKENS), "instance"), ">", Number(0)),
        "or",
        Binary(highest(_STARTED, "instance"), ">", Number(0)),
    ),
    "{{instance}}",
    "purple",
)

OVERVIEW: Final = Board(
    uid="sidelight-overview",
    title="Sidelight / Overview",
    description=(
        "What an LLM service is doing and why it is slow: objectives, requests, KV cache, "
        "batching, retrieval, and Sidelight's own health."
    ),
    rows=(OBJECTIVES, RED, KV_CACHE, BATCHING, RETRIEVAL, RETRIEVAL_QUALITY, HEALTH),
    variables=VARIABLES,
    annotations=(RESTARTS,),
)
