"""Metrics of a vLLM server, measured inside it, and of the instrumentation itself."""

from __future__ import annotations

from typing import Final

from sidelight.conventions import buckets
from sidelight.conventions.definitions import metric

SERVER_REQUEST_DURATION: Final = metric(
    "gen_ai.server.request.duration",
    "histogram",
    "s",
    "Time the server took for a request.",
    buckets.SECONDS_BUCKETS,
)
SERVER_TTFT: Final = metric(
    "gen_ai.server.time_to_first_token",
    "histogram",
    "s",
    "Time to the first token of a successful answer.",
    buckets.TTFT_BUCKETS,
)
SERVER_TPOT: Final = metric(
    "gen_ai.server.time_per_output_token",
    "histogram",
    "s",
    "Time per token after the first of a successful answer.",
    buckets.TPOT_BUCKETS,
)

# Per engine step, from inside vLLM. The share-of-time histograms count seconds, not steps,
# so that a peak between two scrapes is not lost and an idle engine does not weigh in.
ENGINE_STEPS: Final = metric(
    "sidelight.engine.steps", "counter", "{step}", "Engine steps seen by the stat logger."
)
ENGINE_STEP_DURATION: Final = metric(
    "sidelight.engine.step.duration",
    "histogram",
    "s",
    "Time between two engine steps while requests run.",
    buckets.STEP_SECONDS_BUCKETS,
)
ENGINE_BATCH_SIZE: Final = metric(
    "sidelight.engine.batch.size",
    "histogram",
    "{request}",
    "Running requests per engine step.",
    buckets.SIZE_BUCKETS,
)
ENGINE_BATCH_TOKENS: Final = metric(
    "sidelight.engine.batch.tokens",
    "histogram",
    "{token}",
    "Tokens worked on per engine step, prompt and generated.",
    (1.0, 4.0, 16.0, 64.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0),
)
ENGINE_WAITING: Final = metric(
    "sidelight.engine.requests.waiting",
    "histogram",
    "{request}",
    "Waiting requests per engine step.",
    buckets.SIZE_BUCKETS,
)
ENGINE_RUNNING_NOW: Final = metric(
    "sidelight.engine.requests.running.current", "gauge", "{request}", "Requests running now."
)
ENGINE_WAITING_NOW: Final = metric(
    "sidelight.engine.requests.waiting.current", "gauge", "{request}", "Requests waiting now."
)
ENGINE_KV_USAGE: Final = metric(
    "sidelight.engine.kv_cache.usage",
    "gauge",
    "1",
    "Share of KV-cache blocks in use at the last engine step.",
)
ENGINE_KV_USAGE_TIME: Final = metric(
    "sidelight.engine.kv_cache.usage.time",
    "counter",
    "s",
    "Seconds spent at or below each KV-cache use (attribute `le`): a time-weighted histogram.",
    buckets.SHARE_BUCKETS,
)
ENGINE_PREEMPTIONS: Final = metric(
    "sidelight.engine.preemptions", "counter", "{preemption}", "Requests preempted."
)
ENGINE_PREFIX_QUERIES: Final = metric(
    "sidelight.engine.prefix_cache.queries",
    "counter",
    "{token}",
    "Prompt tokens looked up in the prefix cache.",
)
ENGINE_PREFIX_HITS: Final = metric(
    "sidelight.engine.prefix_cache.hits",
    "counter",
    "{token}",
    "Prompt tokens found in the prefix cache.",
)
CLIENT_ABORTS: Final = metric(
    "sidelight.server.client_aborts",
    "counter",
    "{request}",
    "Requests whose client left before the answer was complete; vLLM does not count them.",
)
INSTRUMENTATION_FAULTS: Final = metric(
    "sidelight.instrumentation.faults",
    "counter",
    "{fault}",
    "Errors inside the instrumentation, swallowed so that the observed process goes on.",
)
INSTRUMENTATION_DROPPED: Final = metric(
    "sidelight.instrumentation.dropped",
    "counter",
    "{record}",
    "Records the instrumentation dropped because a bounded queue was full.",
)
