"""Reads vLLM's statistics objects without relying on the version that made them.

vLLM says of `SchedulerStats` and `IterationStats` that they "are not considered stable
interfaces". A field that is missing reads as zero, or as None if zero would be a claim. Seen
in 0.13 to 0.33.
"""

from __future__ import annotations

from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.parse.values import MAX_NAME_CHARACTERS
from sidelight.instrumentation.vllm.records import STEP, Record
from sidelight.instrumentation.vllm.sequences import SequenceFields
from sidelight.instrumentation.vllm.steps import StepFields

# Of one step: a copy must not take longer than the step.
MAX_EVICTIONS: Final = 64
MAX_ADAPTERS: Final = 16


def engine_limits(vllm_config: Any) -> tuple[tuple[str, int], ...]:
    """What vLLM's configuration allows for a step: pairs of a metric and its value."""
    scheduler = getattr(vllm_config, "scheduler_config", None)
    limits = (
        (names.ENGINE_BATCH_TOKENS_LIMIT, getattr(scheduler, "max_num_batched_tokens", None)),
        (names.ENGINE_BATCH_SIZE_LIMIT, getattr(scheduler, "max_num_seqs", None)),
    )
    return tuple((metric, limit) for metric, limit in limits if isinstance(limit, int))


def read_step(scheduler: Any, iteration: Any, finished: int, at: float) -> StepFields:
    """The fields of an `EngineStep`, from `SchedulerStats` and `IterationStats`.

    Either object may be None. `finished` is the number of sequences that finished in the step,
    and `at` its time in seconds of the monotonic clock.
    Numbers are copied at once, because the objects belong to vLLM and to its other stat
    loggers. The result is a plain tuple, which the garbage collector stops tracking; it tracks
    a named one for as long as it lives.
    """
    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None
    queries = hits = 0
    if scheduler is not None:
        running = scheduler.num_running_reqs
        # Since 0.2x, requests that a transient constraint holds back are counted apart.
        waiting = scheduler.num_waiting_reqs + getattr(scheduler, "num_skipped_waiting_reqs", 0)
        kv_usage = getattr(scheduler, "kv_cache_usage", None)
        prefix = getattr(scheduler, "prefix_cache_stats", None)
        if prefix is not None:
            queries, hits = prefix.queries, prefix.hits
    if iteration is None:
        none = (0, 0, 0, queries, hits, finished, 0, 0)
        rare = () if scheduler is None else _rare_figures(scheduler)
        return at, running, waiting, kv_usage, *none, *rare
    prompt = getattr(iteration, "prompt_token_stats", None)
    decoding = getattr(iteration, "inter_token_latencies_iter", None)
    return (
        at,
        running,
        waiting,
        kv_usage,
        iteration.num_prompt_tokens if prompt is None else prompt.computed,
        iteration.num_generation_tokens,
        getattr(iteration, "num_preempted_reqs", 0),
        queries,
        hits,
        finished,
        None if decoding is None else len(decoding),
        len(getattr(iteration, "time_to_first_tokens_iter", ())),
        *(() if scheduler is None else _rare_figures(scheduler)),
    )


def _rare_figures(scheduler: Any) -> StepFields:
    """The last fields of an `EngineStep`; nothing if none of them is set, as in most steps."""
    deferred = getattr(scheduler, "num_skipped_waiting_reqs", 0)
    fetching = getattr(scheduler, "num_kv_fetch_reqs_by_stage", None)
    connector = getattr(scheduler, "connector_prefix_cache_stats", None)
    drafts = getattr(scheduler, "spec_decoding_stats", None)
    evictions = getattr(scheduler, "kv_cache_eviction_events", None)
    running = getattr(scheduler, "running_lora_adapters", None)
    waiting = getattr(scheduler, "waiting_lora_adapters", None)
    fetched = sum(fetching.values()) if fetching else 0
    if not (deferred or fetched or connector or drafts or evictions or running or waiting):
        return ()
    adapters = {*(running or ()), *(waiting or ())}
    return (
        deferred,
        fetched,
        connector.queries if connector else 0,
        connector.hits if connector else 0,
        drafts.num_draft_tokens if drafts else 0,
        drafts.num_accepted_tokens if drafts else 0,
        tuple(event.lifetime_seconds for event in (evictions or ())[:MAX_EVICTIONS]),
        tuple(
            (name[:MAX_NAME_CHARACTERS], (running or {}).get(name, 0), (waiting or {}).get(name, 0))
            for name in sorted(adapters)[:MAX_ADAPTERS]
        ),
    )


def step_record(
    engine: int, scheduler: Any, iteration: Any, at: float, ended: tuple[SequenceFields, ...]
) -> Record:
    """The record of one engine step, from `SchedulerStats` and `IterationStats` or None.

    `at` is its time in seconds of the monotonic clock, `ended` holds the sequences that ended
    in it.
    """
    finished = 0 if iteration is None else len(iteration.finished_requests)
    return STEP, engine, read_step(scheduler, iteration, finished, at), ended
