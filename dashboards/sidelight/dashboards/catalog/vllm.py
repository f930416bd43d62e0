"""The vLLM engine's metrics, with the names each has had, version by version.

From recordings of seven releases (0.8.5 to 0.32.0). Names are those of the exposition:
prometheus_client always writes a counter with `_total`, so `generation_tokens` and
`generation_tokens_total` in vLLM's source are the same series. Note that
`iteration_tokens_total` is a histogram's own name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from sidelight.dashboards.catalog.metric import (
    CatalogMetric,
    Dimension,
    Kind,
    MetricName,
    MetricSource,
)

RECORDED_VERSIONS: Final = ("0.8.5", "0.9.2", "0.10.2", "0.11.2", "0.13.0", "0.20.2", "0.32.0")

_TARGET: Final[Mapping[Dimension, str]] = {
    "job": "job",
    "namespace": "namespace",
    "instance": "instance",
}
VLLM: Final = MetricSource(
    "vLLM",
    {**_TARGET, "model": "model_name", "engine": "engine"},
    # Series that come through Ray carry WorkerId and ReplicaId, so they differ from `vllm:`
    # ones. `vllm_` is `vllm:` after a scrape as OpenMetrics 1.0 without UTF-8 names
    # (prometheus_client >= 0.23 with Prometheus 2.x); both exist side by side once that
    # scrape is repaired. `ray_vllm:` is Ray before it cleaned names for OpenTelemetry.
    (("vllm:", "ray_vllm_", "ray_vllm:"), ("vllm_",)),
)
# Of any process with a Prometheus client.
PROCESS: Final = MetricSource("process", _TARGET)

_LABELS: Final = ("model_name", "engine")

# The bounds that vLLM exports, in seconds.
_TTFT_BUCKETS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_TOKEN_BUCKETS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0,
)  # fmt: skip
_REQUEST_BUCKETS: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0,
    240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip


def _always(kind: Kind, unit: str, name: str, meaning: str, *labels: str) -> CatalogMetric:
    return CatalogMetric(VLLM, kind, unit, meaning, (*_LABELS, *labels), (MetricName(name),))


KV_USAGE: Final = CatalogMetric(
    VLLM,
    "gauge",
    "1",
    "Share of KV-cache blocks in use.",
    _LABELS,
    (
        MetricName("kv_cache_usage_perc", first="0.9.2"),
        MetricName("gpu_cache_usage_perc", last="0.11.2"),
    ),
)
PREFIX_HITS: Final = CatalogMetric(
    VLLM,
    "counter",
    "{token}",
    "Prompt tokens found in the prefix cache.",
    _LABELS,
    (
        MetricName("prefix_cache_hits", first="0.9.2"),
        MetricName("gpu_prefix_cache_hits", last="0.11.2"),
    ),
)
PREFIX_QUERIES: Final = CatalogMetric(
    VLLM,
    "counter",
    "{token}",
    "Prompt tokens looked up in the prefix cache.",
    _LABELS,
    (
        MetricName("prefix_cache_queries", first="0.9.2"),
        MetricName("gpu_prefix_cache_queries", last="0.11.2"),
    ),
)
INTER_TOKEN: Final = CatalogMetric(
    VLLM,
    "histogram",
    "s",
    "Time between two tokens of one request.",
    _LABELS,
    (
        MetricName("inter_token_latency_seconds", first="0.10.2"),
        MetricName("time_per_output_token_seconds", last="0.13.0"),
    ),
    _TOKEN_BUCKETS,
)
RUNNING: Final = _always("gauge", "{request}", "num_requests_running", "Requests in the batch.")
WAITING: Final = _always("gauge", "{request}", "num_requests_waiting", "Requests in the queue.")
PREEMPTIONS: Final = _always("counter", "{preemption}", "num_preemptions", "Requests preempted.")
PROMPT_TOKENS: Final = _always("counter", "{token}", "prompt_tokens", "Prompt tokens processed.")
GENERATION_TOKENS: Final = _always("counter", "{token}", "generation_tokens", "Tokens generated.")
REQUEST_SUCCESS: Final = _always(
    "counter",
    "{request}",
    "request_success",
    "Finished requests by reason; rejected requests are not counted.",
    "finished_reason",
)
TTFT: Final = dataclasses.replace(
    _always(
        "histogram", "s", "time_to_first_token_seconds", "Time from arrival to the first token."
    ),
    buckets=_TTFT_BUCKETS,
)
E2E: Final = dataclasses.replace(
    _always(
        "histogram", "s", "e2e_request_latency_seconds", "Time from arrival to the last token."
    ),
    buckets=_REQUEST_BUCKETS,
)
QUEUE_TIME: Final = _always(
    "histogram", "s", "request_queue_time_seconds", "Time until a request is first scheduled."
)
PREFILL_TIME: Final = _always(
    "histogram", "s", "request_prefill_time_seconds", "Time from first scheduled to first token."
)
DECODE_TIME: Final = _always(
    "histogram", "s", "request_decode_time_seconds", "Time from the first to the last token."
)
ITERATION_TOKENS: Final = _always(
    "histogram", "{token}", "iteration_tokens_total", "Tokens processed in one engine step."
)
WAITING_BY_REASON: Final = CatalogMetric(
    VLLM,
    "gauge",
    "{request}",
    "Requests in the queue by reason: capacity, or deferred (a KV transfer, a LoRA slot).",
    (*_LABELS, "reason"),
    (MetricName("num_requests_waiting_by_reason", first="0.20.2"),),
)
SLEEP_STATE: Final = CatalogMetric(
    VLLM,
    "gauge",
    "",
    "1 for the state that the engine is in; while it sleeps, `awake` is 0.",
    (*_LABELS, "sleep_state"),
    (MetricName("engine_sleep_state", first="0.11.2"),),
)


def _since(
    first: str, kind: Kind, unit: str, name: str, meaning: str, *labels: str, needs: str = ""
) -> CatalogMetric:
    names = (MetricName(name, first=first),)
    return CatalogMetric(VLLM, kind, unit, meaning, (*_LABELS, *labels), names, needs=needs)


PROMPT_LENGTH: Final = _always(
    "histogram", "{token}", "request_prompt_tokens", "Prompt tokens of a request."
)
GENERATION_LENGTH: Final = _always(
    "histogram", "{token}", "request_generation_tokens", "Tokens generated for a request."
)
PROMPT_BY_SOURCE: Final = _since(
    "0.20.2",
    "counter",
    "{token}",
    "prompt_tokens_by_source",
    "Prompt tokens by where their KV came from: computed, found here, or transferred.",
    "source",
)
CACHED_BY_TIER: Final = _since(
    "0.32.0",
    "counter",
    "{token}",
    "prompt_tokens_cached_by_source",
    "Prompt tokens found in a cache, by its tier: device, host, disk or another server.",
    "source",
)
EXTERNAL_HITS: Final = _since(
    "0.11.2",
    "counter",
    "{token}",
    "external_prefix_cache_hits",
    "Prompt tokens found in a KV cache that servers share.",
)
EXTERNAL_QUERIES: Final = _since(
    "0.11.2",
    "counter",
    "{token}",
    "external_prefix_cache_queries",
    "Prompt tokens looked up in a KV cache that servers share.",
)
_BLOCKS: Final = "--kv-cache-metrics"
BLOCK_LIFETIME: Final = _since(
    "0.13.0",
    "histogram",
    "s",
    "kv_block_lifetime_seconds",
    "Time from the allocation of a KV block to its eviction.",
    needs=_BLOCKS,
)
BLOCK_IDLE: Final = _since(
    "0.13.0",
    "histogram",
    "s",
    "kv_block_idle_before_evict_seconds",
    "Time that a KV block was not used before its eviction.",
    needs=_BLOCKS,
)
BLOCK_REUSE_GAP: Final = _since(
    "0.13.0",
    "histogram",
    "s",
    "kv_block_reuse_gap_seconds",
    "Time between two uses of a KV block.",
    needs=_BLOCKS,
)
REQUEST_PREEMPTED: Final = _since(
    "0.32.0",
    "histogram",
    "{preemption}",
    "request_num_preemptions",
    "How often a request was preempted.",
)
# Of the API server, which has one queue for all of its engines.
ADMISSION_REJECTIONS: Final = CatalogMetric(
    VLLM,
    "counter",
    "{request}",
    "Requests rejected because the queue was full.",
    ("model_name", "reason"),
    (MetricName("admission_rejections", first="0.32.0"),),
)
# Its labels hold the values. vLLM has many more; `model_name` is not among them.
CACHE_CONFIG: Final = CatalogMetric(
    VLLM,
    "gauge",
    "",
    "1, with the configuration of the KV cache in its labels.",
    (
        "engine",
        "num_gpu_blocks",
        "block_size",
        "cache_dtype",
        "enable_prefix_caching",
        "gpu_memory_utilization",
    ),
    (MetricName("cache_config_info"),),
)
# vLLM does not export it when it runs several API servers.
PROCESS_START: Final = CatalogMetric(
    PROCESS,
    "gauge",
    "s",
    "When the process started, in seconds since the epoch.",
    (),
    (MetricName("process_start_time_seconds"),),
)
# Written by Prometheus itself, and by the collector for what it scrapes.
UP: Final = CatalogMetric(
    PROCESS, "gauge", "", "1 if the last scrape of the target succeeded.", (), (MetricName("up"),)
)

VLLM_METRICS: Final[tuple[CatalogMetric, ...]] = (
    KV_USAGE,
    PREFIX_HITS,
    PREFIX_QUERIES,
    INTER_TOKEN,
    RUNNING,
    WAITING,
    PREEMPTIONS,
    PROMPT_TOKENS,
    GENERATION_TOKENS,
    REQUEST_SUCCESS,
    TTFT,
    E2E,
    QUEUE_TIME,
    PREFILL_TIME,
    DECODE_TIME,
    ITERATION_TOKENS,
    WAITING_BY_REASON,
    SLEEP_STATE,
    CACHE_CONFIG,
    ADMISSION_REJECTIONS,
    PROMPT_LENGTH,
    GENERATION_LENGTH,
    PROMPT_BY_SOURCE,
    CACHED_BY_TIER,
    EXTERNAL_HITS,
    EXTERNAL_QUERIES,
    BLOCK_LIFETIME,
    BLOCK_IDLE,
    BLOCK_REUSE_GAP,
    REQUEST_PREEMPTED,
)


def exports(version: str, name: MetricName) -> bool:
    """Whether a recorded release exports a name; raises `ValueError` for any other release."""
    if version not in RECORDED_VERSIONS:
        raise ValueError(f"vLLM {version} is not recorded; {', '.join(RECORDED_VERSIONS)} are")
    index = RECORDED_VERSIONS.index
    first = index(name.first) if name.first else 0
    last = index(name.last) if name.last else len(RECORDED_VERSIONS) - 1
    return first <= index(version) <= last
