"""Tokens and cost: each call of a model once, whatever reports it; labels bounded, exemplars."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.samples import Sample

from sidelight import conventions as names
from sidelight.collector.metrics.config import Usage as Options
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.usage import MAX_MODELS, UsageMetrics
from sidelight.otlp.span import SpanRecord
from support import openmetrics
from support.measured_spans import span

TOKENS = f"{names.prometheus_name(names.TOKENS)}_total"
COST = f"{names.prometheus_name(names.COST)}_total"


class Measured:
    """`UsageMetrics` with its registry."""

    def __init__(self, **options: Any) -> None:
        self.registry = Registry()
        self.usage = UsageMetrics(self.registry, Options(**options))

    def observe(self, *spans: SpanRecord) -> None:
        for each in spans:
            self.usage.observe("api", each)

    def samples(self, name: str) -> list[Sample]:
        return openmetrics.samples(name, self.registry)

    def tokens(self) -> dict[str, float]:
        """Tokens by type."""
        found: dict[str, float] = {}
        for each in self.samples(TOKENS):
            kind = each.labels["gen_ai_token_type"]
            found[kind] = found.get(kind, 0) + each.value
        return found


def call(**changes: Any) -> dict[str, Any]:
    """Attributes of a chat of 11 prompt and 5 generated tokens; None takes one away."""
    attributes = {
        "SPAN_KIND": "LLM",
        "REQUEST_MODEL": "tiny",
        "RESPONSE_MODEL": "tiny",
        "INPUT_TOKENS": 11,
        "OUTPUT_TOKENS": 5,
        **changes,
    }
    return {getattr(names, name): value for name, value in attributes.items() if value is not None}


def test_tokens_by_service_model_and_type() -> None:
    """Cached tokens are a part of the input, reasoning a part of the output."""
    measured = Measured()
    measured.observe(span(call(CACHED_TOKENS=8, REASONING_TOKENS=2)))
    assert measured.tokens() == {"input": 11, "output": 5, "cached": 8, "reasoning": 2}
    for each in measured.samples(TOKENS):
        assert each.labels["service_name"] == "api"
        assert each.labels["gen_ai_request_model"] == "tiny"
        assert each.exemplar is not None


def test_an_adapter_is_a_model_of_its_own() -> None:
    """vLLM serves a LoRA adapter under its own name; a gateway may answer with another's."""
    measured = Measured()
    measured.observe(span(call(REQUEST_MODEL="legal-lora", RESPONSE_MODEL="legal-lora")))
    measured.observe(span(call(REQUEST_MODEL="best", RESPONSE_MODEL="tiny")))
    assert {
        (each.labels["gen_ai_request_model"], each.labels["gen_ai_response_model"])
        for each in measured.samples(TOKENS)
    } == {("legal-lora", "legal-lora"), ("best", "tiny")}


def test_cost_by_currency() -> None:
    """From the cost that the price table or the sender set."""
    measured = Measured()
    measured.observe(span(call(USAGE_COST=0.25)), span(call(LLM_COST_TOTAL=0.5)))
    (sample,) = measured.samples(COST)
    assert (sample.value, sample.labels["currency"]) == (0.75, "USD")


class TestOnce:
    def test_client_and_server_of_one_call(self) -> None:
        """Known by the id of the answer, however far apart the two spans are."""
        for first, second in ((3, 2), (2, 3)):
            measured = Measured()
            for kind in (first, second):
                measured.observe(span(call(RESPONSE_ID="chatcmpl-1", USAGE_COST=1.0), kind=kind))
            assert measured.tokens() == {"input": 11, "output": 5}
            assert [each.value for each in measured.samples(COST)] == [1.0]

    def test_a_server_below_its_client(self) -> None:
        """Also where neither names the answer, in either order."""
        for is_reversed in (False, True):
            measured = Measured()
            client = span(call())
            spans = [client, span(call(), parent=client)]
            measured.observe(*(reversed(spans) if is_reversed else spans))
            assert measured.tokens() == {"input": 11, "output": 5}

    def test_tokens_of_one_span_and_cost_of_another(self) -> None:
        """The client has the tokens, the server is priced by GPU-seconds: one call of both."""
        measured = Measured()
        client = span(call(RESPONSE_ID="chatcmpl-1"))
        server = call(
            SPAN_KIND="CHAIN",
            INPUT_TOKENS=None,
            OUTPUT_TOKENS=None,
            ENGINE_REQUEST_ID="chatcmpl-1",
            RESPONSE_ID="chatcmpl-1",
            USAGE_COST=0.5,
        )
        measured.observe(client, span(server, parent=client, kind=2))
        assert measured.tokens() == {"input": 11, "output": 5}
        assert [each.value for each in measured.samples(COST)] == [0.5]

    def test_sums_of_frameworks_do_not_count(self) -> None:
        """A CHAIN or AGENT repeats the calls below it, in tokens and in cost."""
        measured = Measured()
        for kind in ("CHAIN", "AGENT", "TOOL", None):
            measured.observe(span(call(SPAN_KIND=kind, USAGE_COST=1.0)))
        assert measured.tokens() == {}
        assert measured.samples(COST) == []

    def test_a_span_that_is_sent_again(self) -> None:
        """Its sender did not hear that it had arrived."""
        measured = Measured()
        again = span(call())
        measured.observe(again, again)
        assert measured.tokens() == {"input": 11, "output": 5}

    def test_calls_beside_each_other_all_count(self) -> None:
        """Under one span of the application."""
        measured = Measured()
        asked = span({})
        measured.observe(*(span(call(RESPONSE_ID=f"c-{n}"), parent=asked) for n in range(3)))
        assert measured.tokens() == {"input": 33, "output": 15}


class TestIdsOfAnswers:
    def test_a_long_one_is_known_in_any_trace(self) -> None:
        """The server's span is in a trace of its own where the request carried none."""
        measured = Measured()
        answer = f"chatcmpl-{0:032x}"
        for trace in (b"a" * 16, b"b" * 16):
            measured.observe(span(call(RESPONSE_ID=answer), trace_id=trace))
        assert measured.tokens() == {"input": 11, "output": 5}

    def test_a_short_one_is_known_in_its_trace_only(self) -> None:
        """Ollama's are chatcmpl-0 to chatcmpl-999: calls that share one are calls apart."""
        measured = Measured()
        for trace in (b"a" * 16, b"a" * 16, b"b" * 16):
            measured.observe(span(call(RESPONSE_ID="chatcmpl-417"), trace_id=trace))
        assert measured.tokens() == {"input": 22, "output": 10}


@pytest.mark.parametrize("odd", ["11", -1, float("nan"), float("inf"), True, [11]])
def test_odd_amounts_are_passed_over(odd: object) -> None:
    """A counter only goes up, by numbers."""
    measured = Measured()
    measured.observe(span(call(INPUT_TOKENS=odd, OUTPUT_TOKENS=odd, USAGE_COST=odd)))
    assert measured.tokens() == {}
    assert measured.samples(COST) == []


class TestBounds:
    def test_labels_are_bounded(self) -> None:
        """However many models and services, the number of series stays bounded."""
        measured = Measured()
        for number in range(2000):
            measured.usage.observe(f"s{number}", span(call(RESPONSE_MODEL=f"m{number}")))
        found = measured.samples(TOKENS)
        assert sum(each.value for each in found) == 2000 * 16
        assert len({each.labels["gen_ai_response_model"] for each in found}) <= MAX_MODELS + 1
        assert len(found) <= 1002

    def test_an_allow_list_names_the_models(self) -> None:
        """What fits none of its patterns is `other`."""
        measured = Measured(models=["tiny", "legal-*"])
        for model in ("tiny", "legal-1", "gpt"):
            measured.observe(span(call(REQUEST_MODEL=model, RESPONSE_MODEL=model)))
        assert {each.labels["gen_ai_request_model"] for each in measured.samples(TOKENS)} == {
            "tiny",
            "legal-1",
            "other",
        }

    def test_a_failed_call_opens_no_label(self) -> None:
        """Its model is whatever the client wrote."""
        measured = Measured()
        measured.observe(span(call(REQUEST_MODEL="typo", RESPONSE_MODEL=None), is_error=True))
        assert {each.labels["gen_ai_request_model"] for each in measured.samples(TOKENS)} == {
            "other"
        }
