"""What the hooks on vLLM's `OutputProcessor` hand over of sequences, however they end."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from sidelight.instrumentation.vllm import current_request, runtime
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.output_processor import MAX_ID_CHARACTERS
from support.observed_client import ended, observed_client, queued
from support.observed_vllm import Observed
from support.vllm_engine_client import output

STOP, LENGTH = 0, 1
# Some seconds ago, by the clock of the engine.
AT = time.monotonic() - 20.0


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch, observed: Observed) -> None:
    monkeypatch.setattr(runtime, "_runtime", observed.runtime)
    # These tests may run minutes after they were imported.
    monkeypatch.setitem(globals(), "AT", time.monotonic() - 20.0)


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


def test_preemptions_that_older_versions_do_not_count(observed: Observed) -> None:
    """They are counted by the engine's events."""
    client = observed_client(observed)
    client.add("a-1", "a")
    state = client.output_processor.request_states["a-1"]
    client.step(output("a-1"), at=AT)
    back = output("a-1")
    back.events = [SimpleNamespace(type=kind, timestamp=AT) for kind in (3, 2, 3, 2)]
    client.step(back, at=AT + 1.0)
    del state.stats.num_preemptions
    client.step(output("a-1", reason=STOP), at=AT + 2.0)
    (sequence,) = ended(observed)
    assert (sequence.preemptions, len(sequence.preempted)) == (2, 1)
