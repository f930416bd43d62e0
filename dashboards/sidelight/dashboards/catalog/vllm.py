"""Which names each quantity of the vLLM engine has had, version by version.

From recordings of seven releases (0.8.5 to 0.32.0). Names are those of the exposition
without prefix and without `_total`, `_bucket` and the like: prometheus_client always writes
a counter with `_total`, so `generation_tokens` and `generation_tokens_total` in vLLM's
source are the same series. Note that `iteration_tokens_total` is a histogram's own name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sidelight.conventions import METRICS, prometheus_name

RECORDED_VERSIONS: Final = ("0.8.5", "0.9.2", "0.10.2", "0.11.2", "0.13.0", "0.20.2", "0.32.0")

Kind = Literal["counter", "gauge", "histogram"]

SUFFIXES: Final[dict[Kind, tuple[str, ...]]] = {
    "gauge": ("",),
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
}

# Prefixes a name can have in Prometheus. Those of one group never meet on one target with
# otherwise equal labels: series that come through Ray carry WorkerId and ReplicaId.
# `vllm_` is `vllm:` after a scrape as OpenMetrics 1.0 without UTF-8 names (prometheus_client
# >= 0.23 with Prometheus 2.x); both stand side by side once that scrape is mended, so they
# must stay apart. `ray_vllm:` is Ray before it cleaned names for OpenTelemetry.
PREFIX_GROUPS: Final = (("vllm:", "ray_vllm_", "ray_vllm:"), ("vllm_",))
PREFIXES: Final = tuple(prefix for group in PREFIX_GROUPS for prefix in group)


@dataclass(frozen=True, slots=True)
class Name:
    """One name and the first and last recorded release that exports it."""

    name: str
    first: str = RECORDED_VERSIONS[0]
    last: str = RECORDED_VERSIONS[-1]

    def exported_by(self, version: str) -> bool:
        """Whether a recorded release exports it; raises `ValueError` for any other release."""
        if version not in RECORDED_VERSIONS:
            raise ValueError(f"vLLM {version} was never recorded; {RECORDED_VERSIONS} were")
        index = RECORDED_VERSIONS.index
        return index(self.first) <= index(version) <= index(self.last)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing the engine measures, whatever it is called; names from newest to oldest."""

    kind: Kind
    meaning: str
    names: tuple[Name, ...]


def _always(kind: Kind, name: str, meaning: str) -> Quantity:
    return Quantity(kind, meaning, (Name(name),))


KV_USAGE: Final = Quantity(
    "gauge",
    "Share of KV-cache blocks in use, 0 to 1.",
    (Name("kv_cache_usage_perc", first="0.9.2"), Name("gpu_cache_usage_perc", last="0.11.2")),
)
PREFIX_HITS: Final = Quantity(
    "counter",
    "Prompt tokens found in the prefix cache.",
    (Name("prefix_cache_hits", first="0.9.2"), Name("gpu_prefix_cache_hits", last="0.11.2")),
)
PREFIX_QUERIES: Final = Quantity(
    "counter",
    "Prompt tokens looked up in the prefix cache.",
    (Name("prefix_cache_queries", first="0.9.2"), Name("gpu_prefix_cache_queries", last="0.11.2")),
)
INTER_TOKEN: Final = Quantity(
    "histogram",
    "Seconds between two tokens of one request.",
    (
        Name("inter_token_latency_seconds", first="0.10.2"),
        Name("time_per_output_token_seconds", last="0.13.0"),
    ),
)
RUNNING: Final = _always("gauge", "num_requests_running", "Requests in the batch now.")
WAITING: Final = _always("gauge", "num_requests_waiting", "Requests waiting now.")
PREEMPTIONS: Final = _always("counter", "num_preemptions", "Requests preempted.")
PROMPT_TOKENS: Final = _always("counter", "prompt_tokens", "Prompt tokens processed.")
GENERATION_TOKENS: Final = _always("counter", "generation_tokens", "Tokens generated.")
REQUEST_SUCCESS: Final = _always(
    "counter", "request_success", "Finished requests by finished_reason; no rejections in it."
)
TTFT: Final = _always(
    "histogram", "time_to_first_token_seconds", "Seconds from arrival to the first token."
)
E2E: Final = _always(
    "histogram", "e2e_request_latency_seconds", "Seconds from arrival to the last token."
)
QUEUE_TIME: Final = _always(
    "histogram", "request_queue_time_seconds", "Seconds before a request was first scheduled."
)
PREFILL_TIME: Final = _always(
    "histogram", "request_prefill_time_seconds", "Seconds from first scheduled to first token."
)
DECODE_TIME: Final = _always(
    "histogram", "request_decode_time_seconds", "Seconds from the first to the last token."
)
ITERATION_TOKENS: Final = _always(
    "histogram", "iteration_tokens_total", "Tokens worked on per engine step."
)

QUANTITIES: Final[dict[str, Quantity]] = {
    "kv_usage": KV_USAGE,
    "prefix_hits": PREFIX_HITS,
    "prefix_queries": PREFIX_QUERIES,
    "inter_token": INTER_TOKEN,
    "running": RUNNING,
    "waiting": WAITING,
    "preemptions": PREEMPTIONS,
    "prompt_tokens": PROMPT_TOKENS,
    "generation_tokens": GENERATION_TOKENS,
    "request_success": REQUEST_SUCCESS,
    "ttft": TTFT,
    "e2e": E2E,
    "queue_time": QUEUE_TIME,
    "prefill_time": PREFILL_TIME,
    "decode_time": DECODE_TIME,
    "iteration_tokens": ITERATION_TOKENS,
}

# Of any process with a Prometheus client; vLLM drops it when it has several API servers.
PROCESS_START: Final = "process_start_time_seconds"


def defined_names() -> frozenset[str]:
    """Every series name a panel may query: vLLM's, Sidelight's own, and the process's start."""
    engine = {
        prefix + name.name + suffix
        for quantity in QUANTITIES.values()
        for name in quantity.names
        for suffix in SUFFIXES[quantity.kind]
        for prefix in PREFIXES
    }
    own = {
        prometheus_name(metric.name) + suffix
        for metric in METRICS.values()
        for suffix in SUFFIXES[metric.instrument]
    }
    return frozenset(engine | own | {PROCESS_START})
