"""The stat logger inside vLLM's event loop, where an exception would kill the server."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import DISABLED
from sidelight.instrumentation.vllm import environment, runtime
from sidelight.instrumentation.vllm.engine_stats import read_step
from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW
from sidelight.instrumentation.vllm.records import STEP, Record
from sidelight.instrumentation.vllm.steps import EngineStep
from support.observed_vllm import Observed, finished, iteration, scheduler

CONFIG = SimpleNamespace(model_config=SimpleNamespace(served_model_name=["tiny", "alias"]))


class StatLoggerBase(ABC):
    """vLLM's base class, with a method that only a version to come declares abstract."""

    @abstractmethod
    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None: ...

    @abstractmethod
    def record(self, scheduler_stats: Any, iteration_stats: Any) -> None: ...

    @abstractmethod
    def log_engine_initialized(self) -> None: ...

    @abstractmethod
    def of_a_version_to_come(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, observed: Observed) -> Iterator[Any]:
    """`stat_logger` imported beside vLLM's base class, sharing the test's runtime."""
    loggers = ModuleType("vllm.v1.metrics.loggers")
    loggers.StatLoggerBase = StatLoggerBase  # type: ignore[attr-defined]
    for name in ("vllm", "vllm.v1", "vllm.v1.metrics"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, loggers.__name__, loggers)
    monkeypatch.setattr(runtime, "_runtime", observed.runtime)
    name = "sidelight.instrumentation.vllm.stat_logger"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def queued(observed: Observed) -> list[Record]:
    return [record for record in observed.queue.drain() if record[0] == STEP]


def test_step_is_handed_over(engine: Any, observed: Observed) -> None:
    """A call of `record` queues one step with the numbers of that moment."""
    logger = engine.SidelightStatLogger(CONFIG, 1)
    stats = scheduler(running=3, waiting=2, kv=0.5)
    done = finished("chatcmpl-1")
    before = time.monotonic()
    logger.record(stats, iteration(done, prompt=20), mm_cache_stats=None, engine_idx=1)
    stats.num_running_reqs = 99
    ((_, index, (at, *numbers), sequences),) = queued(observed)
    assert (index, numbers) == (1, [3, 2, 0.5, 20, 1, 0, 10, 4, 1, None, 0])
    assert [sequence[0] for sequence in sequences] == ["chatcmpl-1"]
    assert before <= at <= time.monotonic()


def test_any_version_can_make_and_call_it(engine: Any, observed: Observed) -> None:
    """Arguments and abstract methods of versions to come do not keep a server from running."""
    logger = engine.SidelightStatLogger(vllm_config=CONFIG, engine_index=0, novelty=1)
    logger.record(scheduler(), iteration(), None, 0, "novelty", another=2)
    logger.record(scheduler_stats=scheduler(), iteration_stats=iteration())
    logger.record(None, iteration())
    logger.record(scheduler(), None)
    logger.log_engine_initialized()
    assert len(queued(observed)) == 4
    assert observed.runtime.stat_logger_guard.faults == 0


def test_labels(engine: Any, observed: Observed) -> None:
    """Metrics of an engine carry the served name of the model and the engine's index."""
    engine.SidelightStatLogger(CONFIG, 1)
    engine.SidelightStatLogger(None, 2)
    observed.spans()
    labels = [r.attributes for r in observed.processing.data_points() if "gauge" not in r.metric]
    assert {names.REQUEST_MODEL: "tiny", names.ENGINE_INDEX: 1} in labels
    assert {names.ENGINE_INDEX: 2} in labels


@pytest.mark.parametrize("bad", [object(), 1, "text", SimpleNamespace(num_running_reqs=1)])
def test_never_raises(engine: Any, observed: Observed, bad: Any) -> None:
    """Objects of an unknown shape cost the step and are counted."""
    logger = engine.SidelightStatLogger(CONFIG, 0)
    logger.record(bad, iteration())
    logger.record(scheduler(), bad)
    assert observed.runtime.stat_logger_guard.faults == 2
    assert queued(observed) == []


def test_gives_up(engine: Any, observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """After a run of faults it is off for minutes, having said so in two lines."""
    logger = engine.SidelightStatLogger(CONFIG, 0)
    with caplog.at_level(logging.WARNING):
        for _ in range(MAX_FAULTS_IN_A_ROW + 5):
            logger.record(object(), object())
        logger.record(scheduler(), iteration())
    assert queued(observed) == []
    assert observed.runtime.stat_logger_guard.faults == MAX_FAULTS_IN_A_ROW
    assert len(caplog.records) == 2
    assert "switched off" in caplog.text


def test_rare_faults_are_forgiven(engine: Any, observed: Observed) -> None:
    """Faults with good steps between them never switch it off."""
    logger = engine.SidelightStatLogger(CONFIG, 0)
    for _ in range(3 * MAX_FAULTS_IN_A_ROW):
        logger.record(object(), object())
        logger.record(scheduler(), iteration())
    assert not observed.runtime.stat_logger_guard.off
    assert len(queued(observed)) == 3 * MAX_FAULTS_IN_A_ROW


def test_disabled(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off by the environment it does nothing and starts nothing."""
    monkeypatch.setattr(runtime, "_runtime", None)
    monkeypatch.setattr(environment, "AT_START", {DISABLED: "true"})
    logger = engine.SidelightStatLogger(CONFIG, 0)
    logger.record(scheduler(), iteration())
    assert runtime.get() is None


def test_cannot_start(
    engine: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint that is no URL leaves vLLM running, with one line that says what is wrong."""
    monkeypatch.setattr(runtime, "_runtime", None)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}
    monkeypatch.setattr(environment, "AT_START", variables)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            engine.SidelightStatLogger(CONFIG, 0).record(scheduler(), iteration())
    assert len(caplog.records) == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL" in caplog.text


def test_older_statistics() -> None:
    """Fields that an older vLLM lacks read as nothing: 0.13 had neither of these."""
    old = SimpleNamespace(num_running_reqs=2, num_waiting_reqs=1, kv_cache_usage=0.5)
    older = SimpleNamespace(
        num_prompt_tokens=7,
        num_generation_tokens=2,
        finished_requests=[],
    )
    assert read_step(old, older, 0, 1.0) == (1.0, 2, 1, 0.5, 7, 2, 0, 0, 0, 0, None, 0)


def test_limits_of_a_step(engine: Any, observed: Observed) -> None:
    """What a step may hold comes from vLLM's configuration, once, and becomes gauges."""
    config = SimpleNamespace(
        scheduler_config=SimpleNamespace(max_num_batched_tokens=2048, max_num_seqs=64)
    )
    engine.SidelightStatLogger(config, 0)
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
