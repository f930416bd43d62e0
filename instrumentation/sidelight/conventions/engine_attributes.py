"""Attributes of what the engine did with a request: no standard has these."""

from __future__ import annotations

from typing import Final

from sidelight.conventions.definitions import attribute

ENGINE_REQUEST_ID: Final = attribute(
    "sidelight.request.id", "The engine's id of the request: joins spans, logs and KV events."
)
ENGINE_SEQUENCES: Final = attribute("sidelight.request.sequences", "Sequences of the request.")
ENGINE_PHASE: Final = attribute("sidelight.phase", "queue, prefill or decode.")
ENGINE_INDEX: Final = attribute("sidelight.engine.index", "Data-parallel rank that served it.")
TIME_TO_FIRST_TOKEN: Final = attribute(
    "sidelight.time_to_first_token", "From the request's arrival to the first token.", unit="s"
)
TIME_PER_OUTPUT_TOKEN: Final = attribute(
    "sidelight.time_per_output_token", "Mean time between tokens after the first.", unit="s"
)
QUEUE_TIME: Final = attribute(
    "sidelight.queue.time", "From queued to first scheduled; a later wait is in decode.", unit="s"
)
PREFILL_TIME: Final = attribute(
    "sidelight.prefill.time", "From first scheduled to the first token.", unit="s"
)
DECODE_TIME: Final = attribute(
    "sidelight.decode.time", "From the first to the last token.", unit="s"
)
INFERENCE_TIME: Final = attribute(
    "sidelight.inference.time", "From first scheduled to the last token.", unit="s"
)
GPU_TIME: Final = attribute(
    "sidelight.gpu.time",
    "GPU time the request's share of its batches comes to, all GPUs together.",
    unit="s",
)
E2E_TIME: Final = attribute("sidelight.e2e.time", "Arrival to last token in the engine.", unit="s")
SCHEDULER_TIME: Final = attribute(
    "sidelight.scheduler.time", "Spent in the scheduler (vLLM 0 engine only).", unit="s"
)
FORWARD_TIME: Final = attribute(
    "sidelight.model.forward.time", "Spent in forward passes (vLLM 0 engine only).", unit="s"
)
EXECUTE_TIME: Final = attribute(
    "sidelight.model.execute.time",
    "Forward passes, synchronisation and sampling (vLLM 0 engine only).",
    unit="s",
)
# The server's own count, always here and under gen_ai.usage.* only where no client span
# above can hold it too: Langfuse and Phoenix add up gen_ai.usage.* over a trace.
SERVED_INPUT_TOKENS: Final = attribute(
    "sidelight.usage.input_tokens",
    "Prompt tokens as the server counted them, cached ones included.",
    unit="{token}",
)
SERVED_OUTPUT_TOKENS: Final = attribute(
    "sidelight.usage.output_tokens", "Generated tokens as the server counted them.", unit="{token}"
)
SERVED_CACHED_TOKENS: Final = attribute(
    "sidelight.usage.cached_tokens",
    "Prompt tokens found in the prefix cache, as the server counted them.",
    unit="{token}",
)
PREEMPTIONS: Final = attribute("sidelight.preemptions", "Times the request was preempted.")
STREAM_CHUNKS: Final = attribute("sidelight.stream.chunks", "Stream chunks sent to the client.")
STREAM_MAX_GAP: Final = attribute(
    "sidelight.stream.max_gap", "Longest pause between two chunks of the stream.", unit="s"
)
CLIENT_ABORTED: Final = attribute(
    "sidelight.client_aborted", "The client left before the answer was complete."
)
BATCH_SIZE_MEAN: Final = attribute(
    "sidelight.batch.size.mean", "Mean running requests per engine step the request met."
)
BATCH_SIZE_MAX: Final = attribute(
    "sidelight.batch.size.max", "Most running requests in an engine step the request met."
)
WAITING_AT_ARRIVAL: Final = attribute(
    "sidelight.queue.waiting_at_arrival", "Requests already waiting when it was queued."
)
KV_USAGE_AT_ADMISSION: Final = attribute(
    "sidelight.kv_cache.usage.at_admission", "KV-cache use when it was scheduled.", unit="1"
)
KV_USAGE_PEAK: Final = attribute(
    "sidelight.kv_cache.usage.peak", "Highest KV-cache use while it ran.", unit="1"
)
STEPS: Final = attribute("sidelight.engine.steps", "Engine steps while it ran.")
STEPS_WITH_PREFILL: Final = attribute(
    "sidelight.engine.steps_with_prefill",
    "Decode steps that also carried other requests' prompt tokens.",
)
KEEP_TRACE: Final = attribute(
    "sidelight.keep", "true on any span flags its trace: tail sampling keeps it."
)
TENANT: Final = attribute(
    "sidelight.tenant",
    "On resources: whom the sender's token or key pair belongs to; the collector sets it.",
)
CONTENT_TRUNCATED: Final = attribute(
    "sidelight.content.truncated", "Captured content was cut by a cap."
)
