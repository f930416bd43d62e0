"""The thread that works through the queue, and records that it cannot read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import astuple

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export import traces
from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW
from sidelight.instrumentation.vllm.records import HEALTH, REQUEST_BODY, SEQUENCES, STEP, Record
from sidelight.instrumentation.vllm.steps import EngineStep
from support.logged import records_of
from support.observed_vllm import Observed, finished
from support.vllm_application import answer_with_id

PATH = "/v1/chat/completions"
BAD: Record = (STEP, 0, ("of a shape to come",), ())


async def test_one_bad_item(observe: Callable[..., Observed]) -> None:
    """An item that cannot be read costs itself and nothing else."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    observed.queue.put(BAD)
    await answer_with_id(observed, "/v1/chat/completions", {}, "chatcmpl-a")
    assert len(observed.spans()) == 1
    assert observed.processing.guard.faults == 1


def test_bad_and_good_items(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """Bad items with good ones between them are no run of faults, and cost one line."""
    for _ in range(3 * MAX_FAULTS_IN_A_ROW):
        observed.queue.put(BAD)
        observed.step(finished("cmpl-a-0"))
    observed.spans()
    assert observed.processing.guard.faults == 3 * MAX_FAULTS_IN_A_ROW
    assert len(records_of(caplog)) == 1


def test_bad_items_in_a_row(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on after a run of faults, and the log says so, once."""
    for _ in range(2):
        for _ in range(2 * MAX_FAULTS_IN_A_ROW):
            observed.queue.put(BAD)
        observed.step(finished("cmpl-a-0"))
    observed.spans()
    kept = [each.request_id for same in observed.correlator._unclaimed.values() for each in same]
    assert kept == ["cmpl-a-0"] * 2
    assert len(records_of(caplog)) == 2
    message = records_of(caplog)[1].getMessage()
    assert f"{MAX_FAULTS_IN_A_ROW} faults in a row in the processing of records (" in message
    assert "): it stays on" in message
    assert names.INSTRUMENTATION_FAULTS in message
    assert not observed.processing.guard.off


@pytest.mark.parametrize("field", range(14))
@pytest.mark.parametrize("wrong", [None, "a text"])
def test_one_bad_step(observed: Observed, field: int, wrong: str | None) -> None:
    """A step with a field that is no number costs itself; what ended in it and others count."""
    observed.step(at=1.0, prompt=5)
    observed.step(finished("cmpl-a-0"), at=2.0)
    *others, (kind, engine, step, ended) = observed.queue.drain()
    for record in others:
        observed.queue.put(record)
    step = tuple(wrong if at == field else value for at, value in enumerate(EngineStep(*step)))
    observed.queue.put((kind, engine, step, ended))
    observed.step(at=3.0, prompt=7)
    observed.spans()
    history = observed.processing._engines[0][0].steps
    assert {len(column) for column in history._columns} == {len(history)}
    assert [step.at for step in history.between(0.0, 9.0) if step.prompt_tokens] == [1.0, 3.0]
    kept = [each.request_id for same in observed.correlator._unclaimed.values() for each in same]
    assert kept == ["cmpl-a-0"]


def test_a_bad_sequence_of_a_step(observed: Observed) -> None:
    """What ended in a step and cannot be read does not cost the step."""
    observed.step(at=1.0, prompt=5)
    ((kind, engine, step, _),) = observed.queue.drain()
    observed.queue.put((kind, engine, step, (("of a shape to come",),)))
    observed.spans()
    assert observed.processing.guard.faults == 1
    assert len(observed.processing._engines[0][0].steps) == 1


def test_threads_end(observed: Observed) -> None:
    """The thread takes in what is queued and ends when it is told to."""
    worker = observed.thread._thread
    observed.thread.start()
    assert worker in threading.enumerate()
    observed.step(finished("cmpl-a-0"))
    observed.thread.stop(60.0)
    assert worker not in threading.enumerate()
    kept = [each.request_id for same in observed.correlator._unclaimed.values() for each in same]
    assert kept == ["cmpl-a-0"]


def begun(number: int, active: int) -> Record:
    """A request whose end does not come."""
    trace = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    body = b'{"model":"tiny"}'
    return REQUEST_BODY, number, PATH, (body,), True, active, (trace,), 1_000, time.monotonic_ns()


@pytest.mark.parametrize("ended", [True, False])
def test_an_api_server_that_is_killed(observed: Observed, ended: bool) -> None:
    """What it was working on has a span; not so if only its connection is given up."""
    observed.processing.process([(1, begun(1, 1)), (2, begun(1, 1)), (1, begun(2, 2))])
    observed.processing.source_closed(1, ended=ended)
    spans = observed.spans()
    assert [span.attributes[names.ERROR_TYPE] for span in spans] == [names.SERVER_ENDED] * 2 * ended
    for span in spans:
        assert (span.trace_id, span.parent_id, span.status) == ("a" * 32, "b" * 16, 2)
        assert span.attributes[names.REQUEST_MODEL] == "tiny"
        assert span.start_ns == 1_000
    observed.processing.source_closed(1, ended=True)
    assert len(observed.spans()) == len(spans)


def test_an_api_server_that_is_killed_while_a_client_reads(observed: Observed) -> None:
    """The engine is done with such a request: its span has the tokens, and says what happened."""
    observed.processing.process([(1, begun(1, 2)), (1, begun(2, 2))])
    ended = finished("cmpl-a-0", request_number=1, index=0)
    observed.processing.process([(1, (SEQUENCES, (astuple(ended),)))])
    observed.processing.source_closed(1, ended=True)
    servers = [span for span in observed.spans() if span.kind == traces.SERVER]
    assert [span.attributes[names.ERROR_TYPE] for span in servers] == [names.SERVER_ENDED] * 2
    tokens = [span.attributes.get(names.SERVED_OUTPUT_TOKENS) for span in servers]
    assert tokens == [ended.generated_tokens, None]


def test_the_thread_ends_with_its_api_server(observed: Observed) -> None:
    """What that was working on has a span here too."""
    observed.thread.start()
    observed.queue.put(begun(1, 1))
    observed.thread.stop(60.0)
    assert observed.server_span().attributes[names.ERROR_TYPE] == names.SERVER_ENDED


@pytest.mark.parametrize("record", [(HEALTH, 1, ()), begun(3, 1)])
def test_requests_whose_ends_were_dropped(observed: Observed, record: Record) -> None:
    """They ended long ago, so they do not end with their API server."""
    observed.processing.process([(1, begun(1, 1)), (1, begun(2, 2)), (1, record)])
    observed.processing.source_closed(1, ended=True)
    assert len(observed.spans()) == (record[0] != HEALTH)
