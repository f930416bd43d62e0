"""Whatever goes wrong inside the instrumentation, the client's calls go on as they were."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import StatusCode
from pymilvus import AnnSearchRequest, MilvusClient, MilvusException, RRFRanker

from sidelight import conventions as names
from sidelight.instrumentation import messages
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core import (
    call,
    labels,
    metrics,
    observer,
    scores,
    target,
)
from sidelight.instrumentation.vectordb.core.method import ObservedMethod
from sidelight.instrumentation.vectordb.milvus import calls as milvus_calls
from sidelight.instrumentation.vectordb.milvus import results as milvus_results
from sidelight.instrumentation.vectordb.milvus.description import MILVUS
from sidelight.instrumentation.vectordb.milvus.errors import ERRORS
from support.recording import Recording, attributes
from support.vectordb.milvus_lite import Observe, vector

# Every function of ours that runs inside a client's call, by where it is looked up.
_INSIDE: list[tuple[Any, str]] = [
    (milvus_calls._HandlerArguments, "_target"),
    (milvus_calls._HandlerArguments, "_queries"),
    (milvus_calls, "server"),
    (milvus_calls, "database"),
    (milvus_results, "_read_hits"),
    (milvus_results, "_read_extra"),
    (milvus_results, "_documents"),
    (call.DatabaseCall, "__init__"),
    (call.DatabaseCall, "note"),
    (call.DatabaseCall, "set_query_text"),
    (call.DatabaseCall, "set_filter"),
    (call.DatabaseCall, "set_scores"),
    (call.DatabaseCall, "shows_hits"),
    (call.DatabaseCall, "set_hits"),
    (scores.ScoreDirections, "of"),
    (target.CallTarget, "__init__"),
    (labels.CallLabels, "of_call"),
    (target.CallTarget, "span_attributes"),
    (target.CallTargets, "get"),
    (metrics.CallMetrics, "_record"),
    (metrics.CallMetrics, "put"),
    (observer, "start_span"),
    (observer, "write_span"),
    (observer, "add_exception_event"),
    (observer, "is_retriever"),
    (observer, "langchain_parent"),
    (observer, "shortened"),
]


class OurFaultError(Exception):
    """Must never be seen by the app."""


def _broken(*_args: Any, **_kwargs: Any) -> Any:
    raise OurFaultError


@pytest.mark.parametrize(
    ("owner", "name"), _INSIDE, ids=[f"{o.__name__.split('.')[-1]}.{n}" for o, n in _INSIDE]
)
def test_a_fault_of_ours_never_reaches_the_app(
    lite: MilvusClient,
    observe: Observe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: Any,
    name: str,
) -> None:
    """With any of our functions broken, results and errors of the client are what they were."""
    recording = observe(Settings(capture_content="full"))
    monkeypatch.setattr(owner, name, _broken)

    hits = lite.search("docs", [vector(1)], filter="id < 9", limit=3, output_fields=["text"])
    branches = [AnnSearchRequest([vector(1)], "vector", {}, 5)]
    fused = lite.hybrid_search("docs", branches, RRFRanker(), limit=2)
    iterator = lite.query_iterator("docs", batch_size=40)
    pages = [len(iterator.next()), len(iterator.next())]
    rows = lite.query("docs", filter="id < 4")
    with pytest.raises(MilvusException) as raised:
        lite.search("missing", data=[vector(1)])
    recording.points(names.DB_CLIENT_DURATION)

    assert ([len(hits[0]), len(fused[0])], pages, len(rows)) == ([3, 2], [40, 10], 4)
    assert raised.value.code == 100
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert all(span.end_time is not None for span in recording.spans())
    faults = [record for record in caplog.records if record.name.startswith("sidelight")]
    assert faults
    assert all(record.levelno == logging.WARNING for record in faults)


def test_a_fault_is_counted_and_logged_once(
    lite: MilvusClient,
    observe: Observe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Faults show in a metric; the log has one line for each place, without content."""
    recording = observe()
    monkeypatch.setattr(milvus_results, "_read_hits", _broken)

    for _ in range(3):
        lite.search("docs", data=[vector(1)], filter="text == 'secret'")

    ours = [record for record in caplog.records if record.name.startswith("sidelight")]
    assert len(ours) == 1
    # By its nearest base in installed code, as an app may name its exceptions after anything.
    assert "(Exception: " in ours[0].getMessage()
    assert "secret" not in caplog.text
    assert [point.value for point in recording.points(names.INSTRUMENTATION_FAULTS)] == [3]
    assert len(recording.spans("search docs")) == 3


def test_a_message_that_cannot_be_cleared_of_content_is_not_kept(
    lite: MilvusClient, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while content is looked for fails closed; the span is an error all the same."""
    recording = observe()
    monkeypatch.setattr(messages.Messages, "kept", _broken)

    with pytest.raises(MilvusException):
        lite.search("docs", data=[vector(1)], filter="name ==== 'secret'")

    span = recording.span("search docs")
    assert span.status.description == "<not captured>"
    assert attributes(span)[names.ERROR_TYPE] == "MilvusException"
    assert "secret" not in span.to_json()


def test_an_exception_that_cannot_be_described_is_an_error_all_the_same() -> None:
    """A fault of ours must not make a failed call look like one that went well."""
    recording = Recording()
    watching = observer.CallObserver(
        MILVUS,
        replace(ERRORS, describe=_broken),
        version="1",
        settings=Settings(),
        tracer_provider=recording.tracer_provider,
        meter_provider=recording.meter_provider,
    )
    drop = ObservedMethod("drop", lambda _call, _client, _arguments: None)

    def refuse() -> None:
        raise KeyError("secret")

    with pytest.raises(KeyError):
        watching.call(drop, None, {}, refuse, (), {})

    span = recording.span("drop")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)[names.ERROR_TYPE] == "KeyError"
    assert "secret" not in span.to_json()
    (point,) = recording.points(names.DB_CLIENT_DURATION)
    assert point.attributes[names.ERROR_TYPE] == "KeyError"


def test_metrics_that_fail_do_not_lose_the_span(
    lite: MilvusClient, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A meter provider of the app's that raises costs the metrics only."""
    recording = observe()

    class BrokenHistogram:
        record = staticmethod(_broken)

    monkeypatch.setattr(metrics, "_histogram", lambda *_: BrokenHistogram())
    broken = observer.CallObserver(
        MILVUS,
        ERRORS,
        version="0",
        settings=Settings(),
        tracer_provider=recording.tracer_provider,
    )
    described = ObservedMethod("noop", lambda call, _client, _arguments: None)

    assert broken.call(described, None, {}, lambda: 7, (), {}) == 7
    assert recording.span("noop").end_time is not None


def test_core_attributes_survive_the_limit_of_the_sdk(lite: MilvusClient, observe: Observe) -> None:
    """Where a span may keep few attributes, those that name the call are kept."""
    recording = observe(Settings(capture_content="full"), limits=SpanLimits(max_span_attributes=9))

    lite.search("docs", data=[vector(1)], limit=3, output_fields=["text"])
    with pytest.raises(MilvusException):
        lite.search("missing", data=[vector(1)], limit=3)

    good = recording.attributes("search docs")
    bad = recording.span("search missing")
    for found in (good, attributes(bad)):
        assert found[names.DB_SYSTEM] == "milvus"
        assert found[names.SPAN_KIND] == "RETRIEVER"
        assert found[names.DB_OPERATION] == "search"
    assert good[names.DB_COLLECTION] == "docs"
    assert bad.status.status_code is StatusCode.ERROR
    assert attributes(bad)[names.ERROR_TYPE] == "MilvusException"
