"""vLLM's statistics objects, read without relying on the version that made them.

vLLM says of `SchedulerStats` and `IterationStats` that they "are not considered stable
interfaces"; a field that is missing reads as nothing. Seen in 0.13 to 0.33.
"""

from __future__ import annotations

from time import time
from typing import Any, Final

from sidelight.instrumentation.vllm.parse import MAX_NAME_CHARACTERS
from sidelight.instrumentation.vllm.spans.phases import FinishedSequence
from sidelight.instrumentation.vllm.steps import StepFields

_FINISH_REASONS: Final = ("stop", "length", "abort", "error", "repetition")


def read_step(scheduler: Any, iteration: Any) -> StepFields:
    """The fields of an `EngineStep`, from `SchedulerStats` and `IterationStats` (each may be None).

    Numbers are copied at once: the objects belong to vLLM and to its other stat loggers. They
    come as a plain tuple, which the garbage collector lets go of, unlike a named one.
    """
    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None
    queries = hits = 0
    if scheduler is not None:
        running = scheduler.num_running_reqs
        # Requests put off by a transient constraint are counted apart since 0.2x.
        waiting = scheduler.num_waiting_reqs + getattr(scheduler, "num_skipped_waiting_reqs", 0)
        kv_usage = getattr(scheduler, "kv_cache_usage", None)
        prefix = getattr(scheduler, "prefix_cache_stats", None)
        if prefix is not None:
            queries, hits = prefix.queries, prefix.hits
    if iteration is None:
        return time(), running, waiting, kv_usage, 0, 0, 0, queries, hits, 0
    prompt = getattr(iteration, "prompt_token_stats", None)
    return (
        iteration.iteration_timestamp,
        running,
        waiting,
        kv_usage,
        iteration.num_prompt_tokens if prompt is None else prompt.computed,
        iteration.num_generation_tokens,
        getattr(iteration, "num_preempted_reqs", 0),
        queries,
        hits,
        len(iteration.finished_requests),
    )


def read_sequence(stats: Any, engine: int, finished_at: float) -> FinishedSequence | None:
    """A finished sequence out of `FinishedRequestStats`.

    None without an id (before 0.20), or with one beyond `MAX_NAME_CHARACTERS`.
    """
    request_id = getattr(stats, "request_id", None)
    if not request_id or len(request_id) > MAX_NAME_CHARACTERS:
        return None
    return FinishedSequence(
        request_id=request_id,
        engine=engine,
        finished_at=finished_at,
        e2e=stats.e2e_latency,
        queued=stats.queued_time,
        prefill=stats.prefill_time,
        decode=stats.decode_time,
        prompt_tokens=stats.num_prompt_tokens,
        cached_tokens=getattr(stats, "num_cached_tokens", 0),
        generated_tokens=stats.num_generation_tokens,
        preemptions=getattr(stats, "num_preemptions", 0),
        finish_reason=_finish_reason(stats.finish_reason),
    )


def _finish_reason(reason: Any) -> str:
    if isinstance(reason, int) and 0 <= reason < len(_FINISH_REASONS):
        return _FINISH_REASONS[reason]
    return str(reason)
