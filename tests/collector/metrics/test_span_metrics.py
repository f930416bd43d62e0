"""From received bytes to figures: which spans are opened, and what counts them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as names
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.retrieval.searches import Search, read
from sidelight.collector.metrics.span_metrics import SpanMetrics
from sidelight.collector.processors.common.processed import Processed
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.otlp.otlp_pb2 import Request
from support import openmetrics
from support.measured_spans import search
from support.paths import DATA
from support.recorded_spans import request_of, vllm_spans
from support.spans import Made, request

RECORDED = DATA / "instrumentors"
SEARCHES = f"{names.prometheus_name(names.RETRIEVAL_SEARCHES)}_total"
TOKENS = f"{names.prometheus_name(names.TOKENS)}_total"
DELAY = f"{names.prometheus_name(names.REQUEST_DELAY)}_count"
DURATION = f"{names.prometheus_name(names.SERVER_REQUEST_DURATION)}_count"

SERVED: dict[str, Any] = {
    names.REQUEST_MODEL: "tiny",
    names.ENGINE_REQUEST_ID: "chatcmpl-1",
    names.QUEUE_TIME: 0.1,
    names.PREFILL_TIME: 0.1,
    names.DECODE_TIME: 0.1,
}
USAGE: dict[str, Any] = {names.INPUT_TOKENS: 11, names.OUTPUT_TOKENS: 5}


def processed(*spans: Made, kind: int = Span.SPAN_KIND_CLIENT) -> Processed:
    """What the processors make of the spans."""
    made = request(*spans)
    for resource in made.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.kind = kind  # type: ignore[assignment]
    return Pipeline().traces(Request.FromString(made.SerializeToString()))


def measured(*received: Processed) -> dict[str, float]:
    """Sums of the counters after requests were measured one after the other."""
    registry = Registry()
    calls = SpanMetrics(registry, MetricsConfig())
    for each in received:
        calls.observe(each.measured)
    return {
        name: sum(each.value for each in openmetrics.samples(name, registry))
        for name in (SEARCHES, TOKENS, DELAY, DURATION)
    }


def test_only_spans_worth_measuring_are_opened() -> None:
    """Plain spans pass as bytes; of GenAI scopes those with tokens, a cost or a database."""
    plain: dict[str, Any] = {"http.route": "/", "peer": "db"}
    found = processed(
        Made("a", attributes=plain),
        Made("b", attributes={names.OPERATION: "execute_tool"}),
        Made("c", attributes={names.OPERATION: "chat", **USAGE}),
        Made("d", scope=names.SCOPE_VECTORDB, attributes=search()),
        Made("e", attributes={names.DB_SYSTEM: "postgresql"}),
    )
    assert [each.span.span_id.strip(b"-") for each in found.measured] == [b"c", b"d"]


def test_foreign_searches_count_once_shaped() -> None:
    """OpenLLMetry's names of a Milvus search become ours, and the search counts."""
    foreign: dict[str, Any] = {
        "db.system": "milvus",
        "db.operation": "search",
        "db.milvus.search.collection_name": "docs",
        "db.milvus.search.limit": 3,
    }
    scope = "opentelemetry.instrumentation.milvus"
    assert measured(processed(Made("s", scope=scope, attributes=foreign)))[SEARCHES] == 1


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (
            "openllmetry-0.62",
            {
                ("chroma", "found"): (0.0, "lower_is_better"),
                ("qdrant", "unknown"): None,
                ("milvus", "found"): (pytest.approx(1), ""),
            },
        ),
        (
            "openlit-1.45",
            # Its rows of a Milvus search are the number of queries.
            {("chroma", "found"): None, ("qdrant", "unknown"): None, ("milvus", "unknown"): None},
        ),
        ("openinference-0.1", {}),
    ],
)
def test_what_others_really_sent(
    recorded: str, expected: dict[tuple[str, str], tuple[object, str] | None]
) -> None:
    """Recorded spans of other instrumentations: their searches, as far as they tell."""
    text = (RECORDED / f"{recorded}.json").read_text()
    body = json_format.Parse(text, ExportTraceServiceRequest()).SerializeToString()
    opened = Pipeline().traces(Request.FromString(body)).measured
    found = [read(each.span, each.scope) for each in opened]
    assert {
        (each.place.system, each.outcome): None if each.top is None else (each.top, each.direction)
        for each in found
        if isinstance(each, Search)
    } == expected


def test_a_database_span_without_an_operation_of_genai_counts_nothing() -> None:
    """SQL has no retrieval health."""
    sql: dict[str, Any] = {
        "db.system": "postgresql",
        "db.operation": "SELECT",
        names.OPERATION: "chat",
    }
    assert measured(processed(Made("q", attributes=sql)))[SEARCHES] == 0


def test_a_served_request_counts_once_for_both_of_its_tracers() -> None:
    """The plugin's server span and vLLM's own span tell of the same tokens and delays."""
    server = processed(
        Made(
            "server",
            scope=names.SCOPE_VLLM,
            attributes={**SERVED, **USAGE, "openinference.span.kind": "LLM"},
        ),
        kind=Span.SPAN_KIND_SERVER,
    )
    engine = processed(
        Made(
            "llm_request",
            scope=names.SCOPE_VLLM_BUILTIN,
            attributes={
                names.VLLM_REQUEST_ID: "chatcmpl-1-0",
                names.VLLM_PROMPT_TOKENS: 11,
                names.VLLM_COMPLETION_TOKENS: 5,
                names.VLLM_LATENCY_QUEUE: 0.1,
                names.VLLM_LATENCY_PREFILL: 0.1,
                names.VLLM_LATENCY_DECODE: 0.1,
            },
        ),
        kind=Span.SPAN_KIND_SERVER,
    )
    both = measured(server, engine)
    assert (both[TOKENS], both[DURATION]) == (16, 1)
    assert both[DELAY] == measured(server)[DELAY] > 0
    alone = measured(engine)
    assert (alone[TOKENS], alone[DURATION]) == (16, 1)


def test_phases_of_the_engine_are_not_counted_beside_their_server_span() -> None:
    """queue, prefill and decode hold the same seconds and tokens once more."""
    phase = {**SERVED, **USAGE, names.ENGINE_PHASE: "decode", "openinference.span.kind": "LLM"}
    found = processed(
        Made("decode", scope=names.SCOPE_VLLM, attributes=phase), kind=Span.SPAN_KIND_INTERNAL
    )
    assert set(measured(found).values()) == {0}


def test_spans_of_phases_by_vllm_itself_are_no_requests() -> None:
    """Nor are those of its start."""
    for name in ("vllm_decode", "Loading (GPU)"):
        made = Made(name, scope=names.SCOPE_VLLM_BUILTIN, attributes=dict(SERVED))
        assert set(measured(processed(made, kind=Span.SPAN_KIND_INTERNAL)).values()) == {0}


def test_work_on_a_background_response() -> None:
    """Its tokens and delays count; the request was counted when it was answered."""
    work = Made(
        "background",
        scope=names.SCOPE_VLLM,
        attributes={**SERVED, **USAGE, "openinference.span.kind": "LLM"},
    )
    found = measured(processed(work, kind=Span.SPAN_KIND_CONSUMER))
    assert (found[TOKENS], found[DURATION]) == (16, 0)
    assert found[DELAY] > 0


def test_recorded_spans_of_a_real_vllm() -> None:
    """Each of its requests counts once, with all of its time; tokens where no client has them."""
    recorded = vllm_spans()
    requests: dict[str, dict[str, Any]] = {}
    for each in recorded:
        if each["name"] == "llm_request":
            requests.setdefault(each["attributes"][names.VLLM_REQUEST_ID], each)
    assert requests
    registry = Registry()
    received = Request.FromString(request_of(recorded).SerializeToString())
    SpanMetrics(registry, MetricsConfig()).observe(Pipeline().traces(received).measured)

    def total(name: str) -> float:
        return sum(each.value for each in openmetrics.samples(name, registry))

    assert total(DURATION) == len(requests)
    seconds = sum(each["end"] - each["start"] for each in requests.values()) / 1e9
    assert total(f"{names.prometheus_name(names.REQUEST_DELAY)}_sum") == pytest.approx(seconds)
    assert total(TOKENS) == sum(
        each["attributes"][names.VLLM_PROMPT_TOKENS]
        + each["attributes"][names.VLLM_COMPLETION_TOKENS]
        for each in requests.values()
        if not each["parent"]
    )
