"""What the hooks on vLLM's engine client hand over, inside its event loop."""

from __future__ import annotations

import gc
import logging
import time
import weakref

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import DISABLED
from sidelight.instrumentation.vllm import async_llm, environment, runtime
from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW
from sidelight.instrumentation.vllm.metrics import Distribution
from sidelight.instrumentation.vllm.output_processor import MAX_ENDED_IN_STEP
from sidelight.instrumentation.vllm.records import ENGINE, STEP
from sidelight.instrumentation.vllm.sequences import FinishedSequence, read_sequence
from support.logged import records_of
from support.observed_client import ended, observed_client, queued
from support.observed_vllm import Observed, iteration
from support.vllm_engine_client import AsyncLLM, StatLoggerManager, output

STOP = 0
# Some seconds ago, by the clock of the engine.
AT = time.monotonic() - 20.0


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch, observed: Observed) -> None:
    monkeypatch.setattr(runtime, "_runtime", observed.runtime)
    # These tests may run minutes after they were imported.
    monkeypatch.setitem(globals(), "AT", time.monotonic() - 20.0)


def test_step_is_handed_over(observed: Observed) -> None:
    """A step is one record, at the time that the engine stamped, after vLLM's own loggers."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.step(output("a-1"), at=AT)
    before = time.monotonic()
    client.step(at=AT + 1.0)
    (with_outputs, without) = queued(observed)
    assert with_outputs == (STEP, 0, (AT, 3, 2, 0.5, 0, 1, 0, 10, 4, 0, None, 0), ())
    assert before <= without[2][0] <= time.monotonic()
    assert client.logger_manager is not None
    assert client.logger_manager.recorded == [{"engine": 0, "mm_cache_stats": "theirs"}] * 2


@pytest.mark.parametrize("difference", [9_000.0, -9_000.0])
def test_an_engine_on_another_host(observed: Observed, difference: float) -> None:
    """Its clock is not ours: steps and sequences are laid out from when they came."""
    client = observed_client(observed)
    now = time.monotonic()
    client.add("a-1", "a")
    for event in (first := output("a-1")).events:
        event.timestamp += difference
    client.step(first, at=now + difference - 0.1)
    end = output("a-1", reason=STOP)
    end.events = []
    client.step(end, at=now + difference)
    step, last = queued(observed)
    assert step[2][0] >= now
    sequence = read_sequence(last[3][0])
    assert sequence.last_token == sequence.finished >= now
    assert sequence.decode_seconds == pytest.approx(0.1)
    assert sequence.queued is not None
    assert now - 0.3 <= sequence.queued <= time.monotonic()


def test_labels(observed: Observed) -> None:
    """Each engine is announced with its index and the served name of the model."""
    async_llm.observe(AsyncLLM(engines=(2, 3)))
    engines = queued(observed, ENGINE)
    assert [dict(labels) for _, _, labels, *_ in engines] == [
        {names.ENGINE_INDEX: index, names.REQUEST_MODEL: "tiny"} for index in (2, 3)
    ]


def test_statistics_that_vllm_replaces(observed: Observed) -> None:
    """vLLM makes a new manager when it adds engines; its steps and its engines are observed."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.step(output("a-1"), at=AT)
    queued(observed)
    client.logger_manager = StatLoggerManager((0, 1))
    client.engine_core.engine_ranks_managed = [0, 1]
    client.step(output("a-1", reason=STOP), at=AT + 1.0, engine=1)
    *engines, step = queued(observed)
    assert [record[:2] for record in engines] == [(ENGINE, 0), (ENGINE, 1)]
    assert step[:2] == (STEP, 1)
    assert [FinishedSequence(*fields).request_id for fields in step[3]] == ["a"]


def test_steps_that_nobody_reports(observed: Observed) -> None:
    """What ended in them is handed over, and never more of it is kept than one step can have."""
    client = observed_client(observed)
    assert client.logger_manager is not None
    client.logger_manager.record = lambda **_: None  # type: ignore[method-assign]
    for number in range(MAX_ENDED_IN_STEP + 1):
        client.add(f"{number}-1", str(number))
        client.step(output(f"{number}-1", reason=STOP), at=AT)
    assert len(ended(observed)) == MAX_ENDED_IN_STEP


@pytest.mark.parametrize("name", ["add_request", "process_outputs", "abort_requests"])
def test_methods_that_do_not_exist(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Where vLLM has no such method it is left alone, with one line that says what to do."""
    client = AsyncLLM()
    monkeypatch.delattr(type(client.output_processor), name)
    with caplog.at_level(logging.WARNING):
        async_llm.observe(client)
    assert len(records_of(caplog)) == 1
    assert name in caplog.text
    assert "update Sidelight" in caplog.text


def test_objects_of_an_unknown_shape(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """They cost the sequence or the step and are counted; vLLM's own work is done."""
    client = observed_client(observed)
    client.add("a-1", "a")
    del client.output_processor.request_states["a-1"].prompt_len
    client.step(output("a-1", reason=STOP))
    assert observed.runtime.output_processor_guard.faults == 1
    assert client.logger_manager is not None
    client.logger_manager.record(object(), None)
    assert observed.runtime.stat_logger_guard.faults == 1
    assert len(client.logger_manager.recorded) == 2
    for _ in range(MAX_FAULTS_IN_A_ROW):
        client.logger_manager.record(object(), None)
    assert observed.runtime.stat_logger_guard.off
    assert len(client.logger_manager.recorded) == 2 + MAX_FAULTS_IN_A_ROW
    assert len(records_of(caplog)) == 3


def test_steps_that_cannot_be_read(observed: Observed) -> None:
    """What ended in them is handed over, also while the hook is off."""
    client = observed_client(observed)
    assert client.logger_manager is not None
    for number in range(2 * MAX_FAULTS_IN_A_ROW):
        client.add(str(number), "a")
        client.output_processor.process_outputs([output(str(number), reason=STOP)], AT, iteration())
        client.logger_manager.record(object(), None, engine_idx=0)
    assert observed.runtime.stat_logger_guard.off
    assert len(ended(observed)) == 2 * MAX_FAULTS_IN_A_ROW


def test_client_is_collected(observed: Observed) -> None:
    """vLLM shuts an engine down once nothing holds its client, so nothing of ours does."""
    client = observed_client(observed)
    kept = weakref.ref(client)
    gc.disable()
    try:
        del client
        assert kept() is None
    finally:
        gc.enable()


def test_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off by the environment it hooks nothing."""
    monkeypatch.setattr(runtime, "_runtime", None)
    monkeypatch.setattr(environment, "AT_START", {DISABLED: "true"})
    client = AsyncLLM()
    async_llm.observe(client)
    assert "add_request" not in vars(client.output_processor)


def test_cannot_start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that is no URL leaves vLLM running, with one line that says what is wrong."""
    monkeypatch.setattr(runtime, "_runtime", None)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}
    monkeypatch.setattr(environment, "AT_START", variables)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            async_llm.observe(AsyncLLM())
    assert len(records_of(caplog)) == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL" in caplog.text


async def test_engines_that_sleep_or_are_paused(observed: Observed) -> None:
    """The methods work as before, and the gauge says that the engines take no steps."""

    class Subject(AsyncLLM):
        async def sleep(self, level: int = 1) -> int:
            return level

        async def wake_up(self) -> None: ...

        async def pause_generation(self, *, mode: str = "abort") -> str:
            return mode

        async def resume_generation(self) -> None: ...

    async_llm.install(Subject)
    client = Subject()

    def awake() -> float | Distribution:
        observed.thread.process()
        points = observed.processing.data_points()
        (value,) = [point.value for point in points if point.metric == names.ENGINE_AWAKE]
        return value

    assert awake() == 1
    assert await client.sleep(level=2) == 2
    assert awake() == 0
    await client.wake_up()
    assert awake() == 1
    assert await client.pause_generation(mode="keep") == "keep"
    assert awake() == 0
    await client.resume_generation()
    assert awake() == 1
