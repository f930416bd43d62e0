"""What the hooks on vLLM's engine client hand over, inside its event loop."""

from __future__ import annotations

import gc
import logging
import time
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import DISABLED
from sidelight.instrumentation.vllm import async_llm, current_request, environment, runtime
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW
from sidelight.instrumentation.vllm.metrics import Distribution
from sidelight.instrumentation.vllm.output_processor import MAX_ENDED_IN_STEP, MAX_ID_CHARACTERS
from sidelight.instrumentation.vllm.records import ENGINE, STEP, Record
from sidelight.instrumentation.vllm.sequences import FinishedSequence, read_sequence
from support.observed_vllm import Observed, iteration
from support.vllm_engine_client import AsyncLLM, StatLoggerManager, output

STOP, LENGTH = 0, 1
# Some seconds ago, by the clock of the engine.
AT = time.monotonic() - 20.0


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch, observed: Observed) -> None:
    monkeypatch.setattr(runtime, "_runtime", observed.runtime)
    # These tests may run minutes after they were imported.
    monkeypatch.setitem(globals(), "AT", time.monotonic() - 20.0)


def observed_client(observed: Observed, **arguments: Any) -> AsyncLLM:
    """A client that is observed, past the records of its engines."""

    class Subject(AsyncLLM): ...

    async_llm.install(Subject)
    async_llm.install(Subject)
    client = Subject(**arguments)
    queued(observed)
    return client


def queued(observed: Observed, kind: int | None = None) -> list[Record]:
    return [each for each in observed.queue.drain() if kind in (None, each[0])]


def ended(observed: Observed) -> list[FinishedSequence]:
    """The sequences in all records, in the order of their ends."""
    fields = [
        each
        for record in queued(observed)
        for each in (record[3] if record[0] == STEP else record[1])
    ]
    return [FinishedSequence(*each) for each in fields]


def test_step_is_handed_over(observed: Observed) -> None:
    """A step is one record, at the time that the engine stamped, after vLLM's own loggers."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.step(output("a-1"), at=AT)
    client.step(at=AT + 1.0)
    (with_outputs, without) = queued(observed)
    assert with_outputs == (STEP, 0, (AT, 3, 2, 0.5, 0, 1, 0, 10, 4, 0, None, 0), ())
    assert without[2][0] == pytest.approx(time.monotonic(), abs=5.0)
    assert client.logger_manager is not None
    assert client.logger_manager.recorded == [{"engine": 0, "mm_cache_stats": "theirs"}] * 2


@pytest.mark.parametrize("difference", [5.0, -9_000.0])
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
    assert sequence.queued == pytest.approx(now - 0.3, abs=5.0)


def test_labels(observed: Observed) -> None:
    """Each engine is announced with its index and the served name of the model."""
    async_llm.observe(AsyncLLM(engines=(2, 3)))
    engines = queued(observed, ENGINE)
    assert [dict(labels) for _, _, labels, *_ in engines] == [
        {names.ENGINE_INDEX: index, names.REQUEST_MODEL: "tiny"} for index in (2, 3)
    ]


def test_finished_in_a_step(observed: Observed) -> None:
    """What ends in a step comes with it, with the engine's times and the step's engine."""
    client = observed_client(observed, engines=(0, 1))
    current = CurrentRequest()
    current_request.begin(current)
    client.add("a-1", "a")
    first = output("a-1")
    client.step(first, at=AT, engine=1)
    client.step(output("a-1", reason=LENGTH), at=AT + 1.0, engine=1)
    current_request.begin(None)
    (sequence,) = ended(observed)
    assert (sequence.request_id, sequence.engine, sequence.finish_reason) == ("a", 1, "length")
    assert sequence.scheduled == first.events[1].timestamp
    assert sequence.queued is not None
    assert (sequence.first_token, sequence.last_token) == (AT, AT + 1.0)
    assert sequence.e2e_seconds == pytest.approx(0.5, abs=0.3)
    assert (sequence.prompt_tokens, sequence.cached_tokens, sequence.generated_tokens) == (7, 4, 2)
    assert (sequence.request_number, sequence.index, current.sequences) == (current.number, 0, 1)


@pytest.mark.parametrize(("given", "internal"), [("a", False), ("a-1", True)])
def test_aborted_while_decoding(observed: Observed, given: str, internal: bool) -> None:
    """An abort by the caller's id or vLLM's hands over what the sequence has got so far."""
    client = observed_client(observed, engines=(0, 1))
    client.add("a-1", "a", engine=1)
    client.step(output("a-1", tokens=3), at=AT, engine=1)
    queued(observed)
    assert client.output_processor.abort_requests(iter([given]), internal) == ["a-1"]
    (sequence,) = ended(observed)
    assert (sequence.finish_reason, sequence.aborted, sequence.engine) == ("abort", True, 1)
    assert (sequence.generated_tokens, sequence.cached_tokens) == (3, 4)
    assert sequence.is_timed


def test_preempted(observed: Observed) -> None:
    """When a preempted sequence left the batch, came back, and went on."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.step(output("a-1"), at=AT)
    back = output("a-1")
    back.events = [SimpleNamespace(type=3, timestamp=11.0), SimpleNamespace(type=2, timestamp=12.0)]
    client.step(back, at=AT + 3.0)
    client.step(output("a-1", reason=STOP), at=AT + 4.0)
    (sequence,) = ended(observed)
    assert sequence.preemptions == 1
    assert sequence.preempted == ((11.0, 12.0, AT + 3.0),)


def test_preempted_twice_before_the_next_token(observed: Observed) -> None:
    """vLLM tells of both with that token. The sequence was absent once, from the first on."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.step(output("a-1"), at=AT)
    back = output("a-1")
    back.events = [
        SimpleNamespace(type=kind, timestamp=at)
        for kind, at in ((3, 11.0), (2, 12.0), (3, 12.5), (2, 14.0))
    ]
    client.step(back, at=AT + 3.0)
    client.step(output("a-1", reason=STOP), at=AT + 4.0)
    (sequence,) = ended(observed)
    assert sequence.preemptions == 2
    assert sequence.preempted == ((11.0, 14.0, AT + 3.0),)


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


def test_aborted_before_the_first_token(observed: Observed) -> None:
    """vLLM does not say how far such a sequence has come, and neither do we."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.output_processor.abort_requests(["a-1"], internal=True)
    (sequence,) = ended(observed)
    assert (sequence.queued, sequence.first_token, sequence.generated_tokens) == (None, None, 0)
    assert sequence.e2e_seconds >= 0.5


def test_aborted_children(observed: Observed) -> None:
    """The children of one request (n > 1) are aborted by their parent's id, and each comes once."""
    client = observed_client(observed)
    parent = SimpleNamespace(request_id="a-1", children=["0_a-1", "1_a-1"])
    for child in parent.children:
        client.add(child, "a", parent)
    assert client.output_processor.abort_requests(["a-1"], internal=True) == parent.children
    assert [each.request_id for each in ended(observed)] == ["a", "a"]


def test_abort_of_what_is_over(observed: Observed) -> None:
    """An abort that comes too late hands nothing over."""
    client = observed_client(observed)
    assert client.output_processor.abort_requests(["a-1"], internal=True) == []
    assert queued(observed) == []


def test_engine_dies(observed: Observed) -> None:
    """Sequences of an engine that died end with the error, once, and vLLM tells its clients."""
    client = observed_client(observed)
    client.add("a-1", "a")
    error = RuntimeError("dead")
    client.output_processor.propagate_error(error)
    client.output_processor.abort_requests(["a-1"], internal=True)
    (sequence,) = ended(observed)
    assert (sequence.finish_reason, sequence.error) == ("error", "RuntimeError")
    assert client.output_processor.told == [error]


def test_without_statistics(observed: Observed) -> None:
    """Under `--disable-log-stats` tokens and the times of the first and last token are known."""
    client = observed_client(observed, log_stats=False, engines=(0, 1))
    client.add("a-1", "a", engine=1)
    client.add("b-1", "b", engine=0)
    client.step(output("a-1"), at=AT)
    client.step(output("a-1"), output("b-1"), at=AT + 1.0)
    client.step(output("a-1", reason=STOP), at=AT + 2.0)
    client.output_processor.abort_requests(["b-1"], internal=True)
    first, second = ended(observed)
    assert client.logger_manager is None
    assert (first.queued, first.scheduled) == (None, None)
    assert (first.first_token, first.last_token, first.generated_tokens) == (AT, AT + 2.0, 3)
    assert (first.engine, first.finish_reason, first.cached_tokens) == (1, "stop", 4)
    assert (second.first_token, second.generated_tokens, second.engine) == (AT + 1.0, 1, 0)


def test_statistics_that_another_plugin_switched_on(observed: Observed) -> None:
    """Event times of zero, as of an engine whose statistics are off, are not known."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.step(SimpleNamespace(**vars(output("a-1", reason=STOP)) | {"events": []}))
    (sequence,) = ended(observed)
    assert (sequence.queued, sequence.scheduled, sequence.queue_seconds) == (None, None, None)
    assert sequence.first_token is not None


def test_lora_and_older_states(observed: Observed) -> None:
    """An adapter is named; a state without what newer versions have is read all the same."""
    client = observed_client(observed)
    client.add("a-1", "a")
    state = client.output_processor.request_states["a-1"]
    state.lora_name = "poet"
    del state.external_req_id, state.stats.num_preemptions
    client.step(output("a-1", reason=99))
    (sequence,) = ended(observed)
    assert (sequence.lora, sequence.request_id, sequence.finish_reason) == ("poet", "a-1", "99")


def test_long_ids(observed: Observed) -> None:
    """An id of any length joins, and goes out no longer than a name may be."""
    client = observed_client(observed)
    client.add("x" * 10_000, "x" * 10_000)
    client.step(output("x" * 10_000, reason=STOP))
    (sequence,) = ended(observed)
    assert sequence.request_id == "x" * MAX_ID_CHARACTERS


def test_a_session_with_streamed_input_is_one_sequence(observed: Observed) -> None:
    """Later parts of the input are added to a state that exists."""
    client = observed_client(observed)
    current = CurrentRequest()
    current_request.begin(current)
    client.add("a-1", "a")
    client.add("a-1", "a")
    current_request.begin(None)
    assert current.sequences == 1


@pytest.mark.parametrize("name", ["add_request", "process_outputs", "abort_requests"])
def test_methods_that_do_not_exist(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Where vLLM has no such method it is left alone, with one line that says what to do."""
    client = AsyncLLM()
    monkeypatch.delattr(type(client.output_processor), name)
    with caplog.at_level(logging.WARNING):
        async_llm.observe(client)
    assert len(caplog.records) == 1
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
    assert len(caplog.records) == 3


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


def test_arguments_by_name(observed: Observed) -> None:
    """A caller may give vLLM's methods their arguments by name, and values of any kind."""
    client = observed_client(observed)
    client.add("a-1", "a")
    client.add("b-1", "b")
    processor = client.output_processor
    processor.process_outputs(
        engine_core_outputs=[output("a-1", reason=STOP)], engine_core_timestamp=None
    )
    processor.process_outputs([], "a time")  # type: ignore[arg-type]
    assert processor.abort_requests(request_ids=["b-1"], internal=True) == ["b-1"]
    client.step()
    assert [each.request_id for each in ended(observed)] == ["b", "a"]
    assert observed.runtime.output_processor_guard.faults == 1


def test_vllms_errors_are_vllms(observed: Observed) -> None:
    """What vLLM raises in its own methods reaches its caller as it is."""
    client = observed_client(observed)
    with pytest.raises(KeyError):
        client.step(output("never added"))


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
    assert len(caplog.records) == 1
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
