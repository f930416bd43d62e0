"""Metrics of a vLLM server, measured inside it, and of the instrumentation itself."""

from __future__ import annotations

from typing import Final

from sidelight.conventions import buckets
from sidelight.conventions.definitions import CLIENTS, VLLM, Group

# Per engine step, from inside vLLM. The share-of-time histograms count seconds, not steps,
# so that a peak between two scrapes is not lost and an idle engine does not weigh in.
_ENGINE: Final = Group("Engine", VLLM)
ENGINE_STEPS: Final = _ENGINE.metric("sidelight.engine.steps", "counter", "{step}", "Engine steps.")
ENGINE_STEP_DURATION: Final = _ENGINE.metric(
    "sidelight.engine.step.duration",
    "histogram",
    "s",
    "Time between two engine steps while requests run.",
    buckets=buckets.STEP_SECONDS_BUCKETS,
)
ENGINE_BATCH_SIZE: Final = _ENGINE.metric(
    "sidelight.engine.batch.size",
    "histogram",
    "{request}",
    "Running requests in an engine step.",
    buckets=buckets.SIZE_BUCKETS,
)
ENGINE_BATCH_TOKENS: Final = _ENGINE.metric(
    "sidelight.engine.batch.tokens",
    "histogram",
    "{token}",
    "Tokens processed in an engine step, prompt and generated.",
    buckets=(1.0, 4.0, 16.0, 64.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0),
)
ENGINE_WAITING: Final = _ENGINE.metric(
    "sidelight.engine.requests.waiting",
    "histogram",
    "{request}",
    "Waiting requests after an engine step.",
    buckets=buckets.SIZE_BUCKETS,
)
ENGINE_RUNNING_NOW: Final = _ENGINE.metric(
    "sidelight.engine.requests.running.current",
    "gauge",
    "{request}",
    "Requests running after the last engine step.",
)
ENGINE_WAITING_NOW: Final = _ENGINE.metric(
    "sidelight.engine.requests.waiting.current",
    "gauge",
    "{request}",
    "Requests waiting after the last engine step.",
)
ENGINE_KV_USAGE: Final = _ENGINE.metric(
    "sidelight.engine.kv_cache.usage",
    "gauge",
    "1",
    "Share of KV-cache blocks in use after the last engine step.",
)
ENGINE_KV_USAGE_TIME: Final = _ENGINE.metric(
    "sidelight.engine.kv_cache.usage.time",
    "counter",
    "s",
    "Seconds spent at or below each KV-cache use (label le): a time-weighted histogram.",
    buckets=buckets.SHARE_BUCKETS,
)
ENGINE_PREEMPTIONS: Final = _ENGINE.metric(
    "sidelight.engine.preemptions", "counter", "{preemption}", "Preemptions of requests."
)
ENGINE_PREFIX_QUERIES: Final = _ENGINE.metric(
    "sidelight.engine.prefix_cache.queries",
    "counter",
    "{token}",
    "Prompt tokens looked up in the prefix cache.",
)
ENGINE_PREFIX_HITS: Final = _ENGINE.metric(
    "sidelight.engine.prefix_cache.hits",
    "counter",
    "{token}",
    "Prompt tokens found in the prefix cache.",
)
_SERVER: Final = Group("vLLM's API server", VLLM)
CLIENT_ABORTS: Final = _SERVER.metric(
    "sidelight.server.client_aborts",
    "counter",
    "{request}",
    "Requests whose client left before the answer was complete; vLLM does not count them.",
)
SERVER_ACTIVE: Final = _SERVER.metric(
    "sidelight.server.requests.active",
    "gauge",
    "{request}",
    "Inference requests that the API server has accepted and not answered completely.",
)
_INSTRUMENTATION: Final = Group("The instrumentation itself", VLLM, CLIENTS)
INSTRUMENTATION_FAULTS: Final = _INSTRUMENTATION.metric(
    "sidelight.instrumentation.faults",
    "counter",
    "{fault}",
    "Errors inside the instrumentation, which were swallowed (label place).",
)
INSTRUMENTATION_DROPPED: Final = _INSTRUMENTATION.metric(
    "sidelight.instrumentation.dropped",
    "counter",
    "{record}",
    "Records dropped because a queue was full or the endpoint rejected them (label queue).",
)
