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
ENGINE_BATCH_TOKENS_LIMIT: Final = _ENGINE.metric(
    "sidelight.engine.batch.tokens.limit",
    "gauge",
    "{token}",
    "Most tokens that an engine step may process (--max-num-batched-tokens).",
)
ENGINE_BATCH_SIZE_LIMIT: Final = _ENGINE.metric(
    "sidelight.engine.batch.size.limit",
    "gauge",
    "{request}",
    "Most requests that may run in an engine step (--max-num-seqs).",
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
ENGINE_DEFERRED_NOW: Final = _ENGINE.metric(
    "sidelight.engine.requests.deferred.current",
    "gauge",
    "{request}",
    "Of the waiting requests, those that wait for something other than capacity: KV from "
    "elsewhere, a LoRA slot, a grammar.",
)
ENGINE_FINISHED: Final = _ENGINE.metric(
    "sidelight.engine.requests.finished",
    "counter",
    "{request}",
    "Sequences that ended (label reason: stop, length, abort, error or repetition). vLLM counts "
    "no aborts.",
)
ENGINE_LORA_REQUESTS: Final = _ENGINE.metric(
    "sidelight.engine.lora.requests",
    "gauge",
    "{request}",
    "Requests by LoRA adapter after the last engine step (label state: running or waiting). The "
    "first 32 adapters have their names, the others are other.",
)
ENGINE_AWAKE: Final = _ENGINE.metric(
    "sidelight.engine.awake",
    "gauge",
    "{engine}",
    "1 if the engine is awake, 0 if it was put to sleep or paused.",
)
ENGINE_STEP_AGE: Final = _ENGINE.metric(
    "sidelight.engine.step.age",
    "gauge",
    "s",
    "Heartbeat: time since the last engine step while it has running or waiting requests; 0 "
    "without any.",
    across="max",
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
ENGINE_EXTERNAL_QUERIES: Final = _ENGINE.metric(
    "sidelight.engine.external_prefix_cache.queries",
    "counter",
    "{token}",
    "Prompt tokens looked up by a KV connector, after the prefix cache of the engine.",
)
ENGINE_EXTERNAL_HITS: Final = _ENGINE.metric(
    "sidelight.engine.external_prefix_cache.hits",
    "counter",
    "{token}",
    "Prompt tokens whose KV a connector found elsewhere.",
)
ENGINE_DRAFT_TOKENS: Final = _ENGINE.metric(
    "sidelight.engine.speculation.draft_tokens",
    "counter",
    "{token}",
    "Tokens that speculative decoding proposed.",
)
ENGINE_ACCEPTED_TOKENS: Final = _ENGINE.metric(
    "sidelight.engine.speculation.accepted_tokens",
    "counter",
    "{token}",
    "Proposed tokens that the model accepted.",
)
ENGINE_EVICTION_AGE: Final = _ENGINE.metric(
    "sidelight.engine.kv_cache.eviction.age",
    "histogram",
    "s",
    "Age of KV-cache blocks when they were evicted (only with --kv-cache-metrics, which samples).",
    buckets=buckets.BLOCK_SECONDS_BUCKETS,
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
SERVER_STEP_AGE: Final = _SERVER.metric(
    "sidelight.server.step.age",
    "gauge",
    "s",
    "Heartbeat: time since the last step of any engine while the server has requests for the "
    "engine, also for an engine that stopped while idle; 0 without any.",
    across="max",
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
