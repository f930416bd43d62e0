"""Metrics are recorded off the caller's path, within bounds, and never late for a collection."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core import metrics
from sidelight.instrumentation.vectordb.core.method import ObservedMethod
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.milvus.description import MILVUS
from sidelight.instrumentation.vectordb.milvus.errors import ERRORS
from support.memory import held_by
from support.recording import Recording
from support.waiting import eventually


def observer_of(recording: Recording) -> CallObserver:
    """An observer of a library that has one operation."""
    return CallObserver(
        MILVUS,
        ERRORS,
        version="1",
        settings=Settings(),
        tracer_provider=recording.tracer_provider,
        meter_provider=recording.meter_provider,
    )


def search(observer: CallObserver) -> None:
    """One search that finds one hit of score -0.5."""
    operation = ObservedMethod(
        "search",
        lambda call, _client, _arguments: None,
        lambda call, _result: call.set_scores([[-0.5]]),
    )
    observer.call(operation, None, {}, lambda: None, (), {})


def total(recording: Recording, name: str) -> float:
    """The count of a histogram or the value of a counter, over all attributes."""
    return sum(getattr(point, "count", 0) or point.value for point in recording.points(name))


def test_a_collection_has_every_call_that_ended_before_it() -> None:
    """Nothing waits in the queue when metrics are exported."""
    recording = Recording()
    observer = observer_of(recording)

    for _ in range(7):
        search(observer)

    assert total(recording, names.DB_CLIENT_DURATION) == 7


def test_a_negative_score_counts_as_zero() -> None:
    """An SDK drops negative values of a histogram without a word: the search must not be lost."""
    recording = Recording()

    search(observer_of(recording))

    (point,) = recording.points(names.VECTOR_TOP_SCORE)
    assert (point.count, point.sum) == (1, 0.0)


def test_the_queue_is_emptied_without_a_collection() -> None:
    """The thread records what is queued, so that the queue stays short between exports."""
    recording = Recording()
    observer = observer_of(recording)

    search(observer)

    eventually(lambda: not observer._metrics._queue)


def test_a_full_queue_drops_the_oldest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; what is lost is counted."""
    monkeypatch.setattr(metrics.CallMetrics, "_wake", lambda _self: None)
    monkeypatch.setattr(metrics, "MAX_QUEUED_CALLS", 5)
    recording = Recording()
    observer = observer_of(recording)

    for _ in range(8):
        search(observer)

    assert total(recording, names.DB_CLIENT_DURATION) == 5
    assert total(recording, names.INSTRUMENTATION_DROPPED) == 3


def _in_child(observer: CallObserver, recording: Recording, answer: Any) -> None:
    search(observer)
    eventually(lambda: not observer._metrics._queue)
    answer.put((len(observer._metrics._queue), total(recording, names.DB_CLIENT_DURATION)))


@pytest.mark.alone
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_records_too() -> None:
    """A fork takes no threads along: the child starts its own."""
    recording = Recording()
    observer = observer_of(recording)
    search(observer)
    assert total(recording, names.DB_CLIENT_DURATION) == 1
    context = multiprocessing.get_context("fork")
    answer = context.Queue()

    child = context.Process(target=_in_child, args=(observer, recording, answer))
    child.start()
    queued, recorded = answer.get(timeout=60)
    child.join(120)

    assert (queued, recorded) == (0, 2)


@pytest.mark.alone
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_what_was_queued_to_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that waits in the queue at a fork is recorded once, not by both."""
    monkeypatch.setattr(metrics.CallMetrics, "_wake", lambda _self: None)
    recording = Recording()
    observer = observer_of(recording)
    search(observer)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()

    child = context.Process(
        target=lambda: answer.put(total(recording, names.DB_CLIENT_DURATION)),
    )
    child.start()
    recorded = answer.get(timeout=60)
    child.join(120)

    assert (recorded, total(recording, names.DB_CLIENT_DURATION)) == (0, 1)


def test_documents_do_not_wait_for_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue of calls that found much is small; exemplars name the span all the same."""
    monkeypatch.setattr(metrics.CallMetrics, "_wake", lambda _self: None)
    recording = Recording()
    observer = observer_of(recording)
    found = ObservedMethod(
        "search",
        lambda call, _client, _arguments: None,
        lambda call, result: call.note("output.value", result),
    )

    with held_by("*/sidelight/*", __file__) as kept:
        for number in range(100):
            text = f"{number:0100000d}"
            observer.call(found, None, {}, lambda text=text: text, (), {})
            recording.forget()
    observer.call(found, None, {}, lambda: "", (), {})

    assert kept.bytes < 1_000_000
    (point,) = recording.points(names.DB_CLIENT_DURATION)
    (span,) = recording.spans()
    assert point.count == 101
    assert span.context.span_id in {each.span_id for each in point.exemplars}


def test_a_collection_for_each_user_does_not_fill_the_memory() -> None:
    """An SDK keeps every series: collections beyond a bound are measured as one."""
    recording = Recording()
    observer = observer_of(recording)

    for number in range(3_000):
        drop = ObservedMethod(
            "drop",
            lambda call, _client, _arguments, number=number: setattr(  # type: ignore[misc]
                call, "target", observer.targets.get("drop", f"user-{number}", "tenants")
            ),
        )
        observer.call(drop, None, {}, lambda: None, (), {})

    points = recording.points(names.DB_CLIENT_DURATION)
    by_name = {point.attributes[names.DB_COLLECTION]: point for point in points}
    assert len(points) == 501
    assert by_name["user-0"].count == 1
    assert by_name["other"].count == 2_500
    assert by_name["other"].attributes[names.DB_NAMESPACE] == "other"
    assert recording.spans("drop user-2999")
