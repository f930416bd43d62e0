"""Reading vLLM's statistics objects, of any version."""

from __future__ import annotations

from types import SimpleNamespace

from sidelight import conventions as names
from sidelight.instrumentation.vllm.engine_stats import engine_limits, read_step
from sidelight.instrumentation.vllm.records import ENGINE
from sidelight.instrumentation.vllm.steps import EngineStep
from support.observed_vllm import Observed, iteration, scheduler


def test_older_statistics() -> None:
    """Fields that an older vLLM lacks read as nothing: 0.13 had neither of these."""
    old = SimpleNamespace(num_running_reqs=2, num_waiting_reqs=1, kv_cache_usage=0.5)
    older = SimpleNamespace(num_prompt_tokens=7, num_generation_tokens=2)
    assert read_step(old, older, 0, 1.0) == (1.0, 2, 1, 0.5, 7, 2, 0, 0, 0, 0, None, 0)


def test_limits_of_a_step(observed: Observed) -> None:
    """What a step may hold comes from vLLM's configuration, once, and becomes gauges."""
    config = SimpleNamespace(
        scheduler_config=SimpleNamespace(max_num_batched_tokens=2048, max_num_seqs=64)
    )
    observed.runtime.add_engine((ENGINE, 0, (), False, engine_limits(config)))
    observed.thread.process()
    limits = {
        point.metric: point.value
        for point in observed.processing.data_points()
        if point.metric in (names.ENGINE_BATCH_TOKENS_LIMIT, names.ENGINE_BATCH_SIZE_LIMIT)
    }
    assert limits == {names.ENGINE_BATCH_TOKENS_LIMIT: 2048, names.ENGINE_BATCH_SIZE_LIMIT: 64}


def test_rare_figures() -> None:
    """What most steps do not have comes last: deferred requests, tiers, drafts, adapters."""
    stats = scheduler(running=3, waiting=1)
    stats.num_skipped_waiting_reqs = 2
    stats.num_kv_fetch_reqs_by_stage = {"lookup": 1, "load": 1}
    stats.connector_prefix_cache_stats = SimpleNamespace(queries=64, hits=32)
    stats.spec_decoding_stats = SimpleNamespace(num_draft_tokens=6, num_accepted_tokens=4)
    stats.kv_cache_eviction_events = [SimpleNamespace(lifetime_seconds=1.5)]
    stats.running_lora_adapters, stats.waiting_lora_adapters = {"b": 2}, {"a": 1}
    tokens = iteration()
    tokens.inter_token_latencies_iter = [0.01, 0.01]
    tokens.time_to_first_tokens_iter = [0.2]
    step = EngineStep(*read_step(stats, tokens, 1, 5.0))
    assert (step.waiting, step.deferred, step.fetching) == (3, 2, 2)
    assert (step.decoding, step.prefilled, step.partly_prefilled) == (2, 1, 1)
    assert (step.external_queries, step.external_hits) == (64, 32)
    assert (step.draft_tokens, step.accepted_tokens) == (6, 4)
    assert (step.evicted, step.lora) == ((1.5,), (("a", 0, 1), ("b", 2, 0)))
    # Without an iteration, as when only the scheduler has something to tell.
    assert EngineStep(*read_step(stats, None, 0, 5.0)).lora == step.lora
