"""vLLM's own spans, as recorded from a real server, through the running collector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.otlp.span import Attributes, attributes
from support.collector import Collector, fetch, settings
from support.otlp_store import OtlpStore
from support.recorded_spans import request_of, vllm_spans
from support.waiting import PATIENCE_SECONDS, eventually

_Pairs = list[tuple[dict[str, Any], Span, Attributes]]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, OtlpStore]]:
    """A running collector and its destination."""
    directory = tmp_path_factory.mktemp("vllm")
    with (
        OtlpStore() as store,
        Collector(settings(directory, destinations=[store.destination()]), directory) as running,
    ):
        yield running, store


@pytest.fixture(scope="module")
def processed(collector: tuple[Collector, OtlpStore]) -> _Pairs:
    """What was recorded beside what arrived."""
    running, store = collector
    recorded = vllm_spans()
    assert running.post(request_of(recorded).SerializeToString())[0] == 200
    eventually(lambda: len(list(store.all_spans())) >= len(recorded))
    arrived = {span.span_id.hex(): span for span in store.all_spans()}
    assert len(arrived) == len(recorded)
    return [
        (each, arrived[each["span_id"]], attributes(arrived[each["span_id"]].attributes))
        for each in recorded
    ]


def _requests(processed: _Pairs) -> _Pairs:
    found = [each for each in processed if each[0]["name"] == "llm_request"]
    assert found
    return found


def test_no_foreign_token_counts_stay(processed: _Pairs) -> None:
    """Langfuse adds any unknown gen_ai.usage.* to the total; vLLM's own names are all replaced."""
    known = {c.INPUT_TOKENS, c.OUTPUT_TOKENS, c.CACHED_TOKENS}
    for recorded, _, found in _requests(processed):
        assert not any(name.startswith("gen_ai.latency.") for name in found)
        assert {name for name in found if name.startswith("gen_ai.usage.")} <= known
        assert c.VLLM_REQUEST_ID not in found
        assert found[c.ENGINE_REQUEST_ID] == recorded["attributes"][c.VLLM_REQUEST_ID]


def test_no_value_is_lost(processed: _Pairs) -> None:
    """Every recorded value is found again, under some name."""
    for recorded, span, found in _requests(processed):
        values = [repr(value) for value in found.values()]
        assert all(repr(value) in values for value in recorded["attributes"].values())
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
            recorded["start"],
            recorded["end"],
        )


def test_a_root_is_the_llm_span_and_a_child_a_chain(processed: _Pairs) -> None:
    """Usage stands on one span of a trace, or both backends would add it up twice."""
    kinds = set()
    for recorded, _, found in _requests(processed):
        is_root = not recorded["parent"]
        kinds.add(found[c.SPAN_KIND])
        assert found[c.SPAN_KIND] == ("LLM" if is_root else "CHAIN")
        assert (c.INPUT_TOKENS in found) == (c.OUTPUT_TOKENS in found) == is_root
        assert found[c.SERVED_INPUT_TOKENS] == recorded["attributes"][c.VLLM_PROMPT_TOKENS]
        assert found[c.SERVED_OUTPUT_TOKENS] == recorded["attributes"][c.VLLM_COMPLETION_TOKENS]
        assert found[c.PROVIDER] == "vllm"
        is_chat = str(found[c.ENGINE_REQUEST_ID]).startswith("chatcmpl")
        assert not is_chat or found[c.OPERATION] == "chat"
    assert kinds == {"LLM", "CHAIN"}


def test_the_first_token_has_a_time(processed: _Pairs) -> None:
    """The only way to a time-to-first-token in Langfuse: start plus TTFT, absolute."""
    for recorded, _, found in _requests(processed):
        if recorded["parent"]:
            continue
        text = found[c.LANGFUSE_COMPLETION_START]
        assert isinstance(text, str)
        seconds = datetime.fromisoformat(text).timestamp() - recorded["start"] / 1e9
        assert seconds == pytest.approx(recorded["attributes"][c.VLLM_LATENCY_TTFT], abs=1e-5)


def test_other_spans_pass_untouched(processed: _Pairs) -> None:
    """The tree of vLLM's start is as it was."""
    others = [each for each in processed if each[0]["name"] != "llm_request"]
    assert others
    for recorded, span, _ in others:
        expected = request_of([recorded]).resource_spans[0].scope_spans[0].spans[0]
        assert span == expected


def test_requests_are_measured(processed: _Pairs, collector: tuple[Collector, OtlpStore]) -> None:
    """Each request once, with the trace id of one of them as exemplar."""
    running, _ = collector
    requests = {found[c.ENGINE_REQUEST_ID] for _, _, found in _requests(processed)}
    name = "gen_ai_server_request_duration_seconds"
    assert running.metric(f"{name}_count") == len(requests)
    _, text = running.get("/metrics")
    assert f"# TYPE {name} histogram" in text
    traces = set(re.findall(r'trace_id="([0-9a-f]{32})"', _open_metrics(running)))
    assert traces
    assert traces <= {each["trace_id"] for each, _, _ in processed}


def _open_metrics(running: Collector) -> str:
    url = f"http://127.0.0.1:{running.serve_port}/metrics"
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    return fetch(url, None, accept, PATIENCE_SECONDS)[2].decode()
