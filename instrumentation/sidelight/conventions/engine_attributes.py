"""Attributes of what the engine did with a request: no standard has these."""

from __future__ import annotations

from typing import Final

from sidelight.conventions.definitions import APPS, CLIENTS, COLLECTOR, VLLM, Group

_ENGINE: Final = Group("Engine", VLLM)

ENGINE_REQUEST_ID: Final = _ENGINE.attribute(
    "sidelight.request.id",
    "The engine's id of the request; joins spans, logs and KV events.",
    VLLM,
    COLLECTOR,
)
ENGINE_SEQUENCES: Final = _ENGINE.attribute(
    "sidelight.request.sequences",
    "Sequences that the engine made of the request.",
    VLLM,
    COLLECTOR,
    unit="{sequence}",
)
LORA_NAME: Final = _ENGINE.attribute(
    "sidelight.lora.name", "LoRA adapter that the engine used for the request."
)
ENGINE_PHASE: Final = _ENGINE.attribute(
    "sidelight.phase", "Phase of the request: frontend, queue, prefill, decode or delivery."
)
ENGINE_INDEX: Final = _ENGINE.attribute(
    "sidelight.engine.index", "Data-parallel rank of the engine."
)
TIME_TO_FIRST_TOKEN: Final = _ENGINE.attribute(
    "sidelight.time_to_first_token",
    "Time from the request's arrival to the first token.",
    VLLM,
    COLLECTOR,
    unit="s",
)
TIME_PER_OUTPUT_TOKEN: Final = _ENGINE.attribute(
    "sidelight.time_per_output_token",
    "Mean time between tokens after the first.",
    VLLM,
    COLLECTOR,
    unit="s",
)
FRONTEND_TIME: Final = _ENGINE.attribute(
    "sidelight.frontend.time",
    "Time from the request's arrival to queued: reading, template, tokenising, and the engine's "
    "running step.",
    unit="s",
)
FRONTEND_RECEIVE_TIME: Final = _ENGINE.attribute(
    "sidelight.frontend.receive.time",
    "Part of the frontend time before vLLM began to prepare the prompt.",
    unit="s",
)
FRONTEND_WAIT_TIME: Final = _ENGINE.attribute(
    "sidelight.frontend.wait.time",
    "Part of the frontend time beyond what preparing such a prompt takes while the engine is "
    "idle (estimated): waiting for the running step, or for the API server.",
    unit="s",
)
QUEUE_TIME: Final = _ENGINE.attribute(
    "sidelight.queue.time",
    "Time from queued to first scheduled; a wait after a preemption is in the decode time.",
    VLLM,
    COLLECTOR,
    unit="s",
)
PREFILL_TIME: Final = _ENGINE.attribute(
    "sidelight.prefill.time",
    "Time from first scheduled to the first token.",
    VLLM,
    COLLECTOR,
    unit="s",
)
DECODE_TIME: Final = _ENGINE.attribute(
    "sidelight.decode.time", "Time from the first to the last token.", VLLM, COLLECTOR, unit="s"
)
DELIVERY_TIME: Final = _ENGINE.attribute(
    "sidelight.delivery.time", "Time from the last token to the last byte sent.", unit="s"
)
DELAY_SECONDS: Final = {
    cause: _ENGINE.attribute(f"sidelight.delay.{cause}", meaning, unit="s")
    for cause, meaning in (
        ("frontend", "Delay before the engine queued the request."),
        ("queue", "Delay by waiting to be scheduled for the first time."),
        ("kv_transfer", "Delay by waiting for KV from elsewhere."),
        ("prefill", "Time of the request's own prompt."),
        ("interference", "Delay by other requests' prompts in the steps of the request."),
        ("preemption", "Delay by being out of the batch, and computing the tokens again."),
        ("batch_growth", "Delay by other requests that decoded in the same steps."),
        ("decode", "Time of generating tokens, as in a batch of one."),
        ("delivery", "Delay after the last token, until the last byte was sent."),
    )
}
"""The attribute of each delay cause. Together they are the duration of the server span."""
MAIN_DELAY_CAUSE: Final = _ENGINE.attribute(
    "sidelight.delay.cause",
    "The cause of the largest avoidable delay, if it is 5 % of the request or more.",
)
DELAY_AVOIDABLE: Final = _ENGINE.attribute(
    "sidelight.delay.avoidable",
    "Seconds of that cause that the request alone would not have taken.",
    unit="s",
)
DELAY_REASON: Final = _ENGINE.attribute(
    "sidelight.delay.reason", "The figures behind sidelight.delay.cause."
)
DELAY_OPTION: Final = _ENGINE.attribute(
    "sidelight.delay.option", "The option of vLLM to change against sidelight.delay.cause."
)
DELAY_ESTIMATED: Final = _ENGINE.attribute(
    "sidelight.delay.estimated",
    "The causes whose seconds are estimated, each with what from. The others are measured.",
)
INFERENCE_TIME: Final = _ENGINE.attribute(
    "sidelight.inference.time", "Time from first scheduled to the last token.", COLLECTOR, unit="s"
)
GPU_TIME: Final = _ENGINE.attribute(
    "sidelight.gpu.time",
    "The request's share of the GPU time of its batches, summed over all GPUs.",
    COLLECTOR,
    unit="s",
)
E2E_TIME: Final = _ENGINE.attribute(
    "sidelight.e2e.time",
    "Time from arrival to the last token, as the engine measured it.",
    VLLM,
    COLLECTOR,
    unit="s",
)
SCHEDULER_TIME: Final = _ENGINE.attribute(
    "sidelight.scheduler.time",
    "Time in the scheduler (engines before vLLM's V1 only).",
    COLLECTOR,
    unit="s",
)
FORWARD_TIME: Final = _ENGINE.attribute(
    "sidelight.model.forward.time",
    "Time in forward passes (engines before vLLM's V1 only).",
    COLLECTOR,
    unit="s",
)
EXECUTE_TIME: Final = _ENGINE.attribute(
    "sidelight.model.execute.time",
    "Time in forward passes, synchronisation and sampling (engines before vLLM's V1 only).",
    COLLECTOR,
    unit="s",
)
# The server's own count, always here and under gen_ai.usage.* only where no client span
# above can hold it too: Langfuse and Phoenix add up gen_ai.usage.* over a trace.
SERVED_INPUT_TOKENS: Final = _ENGINE.attribute(
    "sidelight.usage.input_tokens",
    "Prompt tokens that the server counted, cached ones included.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)
SERVED_OUTPUT_TOKENS: Final = _ENGINE.attribute(
    "sidelight.usage.output_tokens",
    "Generated tokens that the server counted.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)
SERVED_CACHED_TOKENS: Final = _ENGINE.attribute(
    "sidelight.usage.cached_tokens",
    "Prompt tokens that the server found in its prefix cache.",
    unit="{token}",
)
PREEMPTIONS: Final = _ENGINE.attribute(
    "sidelight.preemptions", "Preemptions of the request.", unit="{preemption}"
)
STREAM_CHUNKS: Final = _ENGINE.attribute(
    "sidelight.stream.chunks", "Chunks of the stream that were sent to the client.", unit="{chunk}"
)
STREAM_MAX_GAP: Final = _ENGINE.attribute(
    "sidelight.stream.max_gap", "Longest pause between two chunks of the stream.", unit="s"
)
CLIENT_ABORTED: Final = _ENGINE.attribute(
    "sidelight.client_aborted", "true if the client left before the answer was complete."
)
BATCH_SIZE_MEAN: Final = _ENGINE.attribute(
    "sidelight.batch.size.mean",
    "Mean number of running requests in the engine steps of the request.",
    unit="{request}",
)
BATCH_SIZE_MAX: Final = _ENGINE.attribute(
    "sidelight.batch.size.max",
    "Maximum of running requests in the engine steps of the request.",
    unit="{request}",
)
WAITING_AT_ARRIVAL: Final = _ENGINE.attribute(
    "sidelight.queue.waiting_at_arrival",
    "Requests that were waiting when the engine queued this one.",
    unit="{request}",
)
KV_USAGE_AT_ADMISSION: Final = _ENGINE.attribute(
    "sidelight.kv_cache.usage.at_admission",
    "KV-cache use when the request was first scheduled.",
    unit="1",
)
KV_USAGE_PEAK: Final = _ENGINE.attribute(
    "sidelight.kv_cache.usage.peak", "Highest KV-cache use while the request ran.", unit="1"
)
STEPS: Final = _ENGINE.attribute(
    "sidelight.engine.steps", "Engine steps while the request ran.", unit="{step}"
)
STEPS_WITH_PREFILL: Final = _ENGINE.attribute(
    "sidelight.engine.steps_with_prefill",
    "Decode steps of the request that also carried prompt tokens of other requests.",
    unit="{step}",
)
KEEP_TRACE: Final = _ENGINE.attribute(
    "sidelight.keep", "true on any span keeps its trace in tail sampling.", APPS
)
TENANT: Final = _ENGINE.attribute(
    "sidelight.tenant", "On resources: the tenant of the sender's token or key pair.", COLLECTOR
)
CONTENT_TRUNCATED: Final = _ENGINE.attribute(
    "sidelight.content.truncated",
    "true if captured content was cut by a cap.",
    VLLM,
    CLIENTS,
    COLLECTOR,
)
