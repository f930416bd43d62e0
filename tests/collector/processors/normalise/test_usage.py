"""Tokens and costs: what Langfuse adds up and prices of the spans of every instrumentor."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidelight import conventions as c
from sidelight.collector.processors.pipeline import Pipeline
from support.langfuse_view import Observation, observation
from support.processing import processed_span, span, values

MODEL = "gpt-4o-mini"
PRICES = {MODEL: 0.5}
"""Langfuse knows the model, so it prices what has no cost of its own."""
TEXTS = {c.INPUT_VALUE: "what is it", c.OUTPUT_VALUE: "it is so"}


def seen(attributes: dict[str, Any], *, scope: str = "some.library", **given: Any) -> Observation:
    """What Langfuse makes of a span after processing."""
    one = span(attributes, parent=given.get("parent", b""), name=given.get("name", "chat"))
    if given.get("failed"):
        one.status.code = Status.STATUS_CODE_ERROR
    return observation(processed_span(Pipeline(), one, scope=scope), {}, PRICES)


class TestWhatCostsNothing:
    def test_langfuse_prices_a_call_without_usage(self) -> None:
        """The rule that all this is about: a call that says nothing is estimated."""
        assert seen({c.OPERATION: "chat", c.REQUEST_MODEL: MODEL, **TEXTS}).cost > 0

    def test_vllms_own_span_below_a_client(self) -> None:
        """The engine's span became a CHAIN: the client's span above it has the tokens."""
        made = seen(
            {"gen_ai.response.model": MODEL, "gen_ai.usage.prompt_tokens": 50, **TEXTS},
            scope=c.SCOPE_VLLM_BUILTIN,
            name="llm_request",
            parent=b"p" * 8,
        )
        assert (made.model, made.tokens, made.cost) == (MODEL, 0, 0)

    @pytest.mark.parametrize(
        ("scope", "attributes"),
        [
            ("some.library", {c.OPERATION: "chat", c.REQUEST_MODEL: MODEL}),
            ("some.library", {c.OPERATION: "embeddings", c.REQUEST_MODEL: MODEL}),
            ("openinference.instrumentation.openai",
             {c.SPAN_KIND: "LLM", "llm.model_name": MODEL}),
            ("opentelemetry.instrumentation.openai.v1",
             {"llm.request.type": "chat", "gen_ai.request.model": MODEL}),
            ("openlit.x", {"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL}),
            ("langfuse-sdk", {"langfuse.observation.type": "generation",
                              "langfuse.observation.model.name": MODEL}),
            (c.SCOPE_VLLM_BUILTIN, {"gen_ai.response.model": MODEL}),
        ],
    )  # fmt: skip
    def test_a_failed_call(self, scope: str, attributes: dict[str, Any]) -> None:
        """A call that failed without usage has no price, whichever library tells it."""
        made = seen({**attributes, **TEXTS}, scope=scope, failed=True, name="llm_request")
        assert (made.model, made.cost) == (MODEL, 0)

    def test_a_failed_call_of_langfuses_sdk(self) -> None:
        """It says so by a level, and an empty object says nothing of usage and cost."""
        call = {"langfuse.observation.type": "generation", "langfuse.observation.level": "ERROR",
                "langfuse.observation.model.name": MODEL, **TEXTS}  # fmt: skip
        assert seen(call, scope="langfuse-sdk").cost == 0
        empty = {c.LANGFUSE_USAGE: "{}", c.LANGFUSE_COST: "{}"}
        assert seen({**call, **empty}, scope="langfuse-sdk").cost == 0

    @pytest.mark.parametrize("operation", ["invoke_agent", "execute_tool", "invoke_workflow"])
    def test_what_stands_above_calls(self, operation: str) -> None:
        """An agent that names its model costs what its calls cost, which are spans of their own."""
        assert seen({c.OPERATION: operation, c.REQUEST_MODEL: MODEL, **TEXTS}).cost == 0

    def test_usage_and_costs_that_came_stay(self) -> None:
        """What a failed call used before it failed still counts."""
        made = seen({c.OPERATION: "chat", c.REQUEST_MODEL: MODEL, c.INPUT_TOKENS: 4}, failed=True)
        assert made.cost == 2
        made = seen({c.OPERATION: "chat", c.REQUEST_MODEL: MODEL, c.USAGE_COST: 3.0}, failed=True)
        assert made.cost == 3


CALL = {c.OPERATION: "chat", c.REQUEST_MODEL: "m"}
STRANDS = {
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.completion_tokens": 100,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.total_tokens": 1100,
    "gen_ai.usage.cache_read_input_tokens": 100,
    "gen_ai.usage.cache_write_input_tokens": 200,
    "gen_ai.usage.some_future_tokens": 300,
}
GOOGLE_ADK = {
    "gen_ai.usage.input_tokens": 40,
    "gen_ai.usage.output_tokens": 10,
    "gen_ai.usage.experimental.reasoning_tokens": 6,
    "gen_ai.usage.experimental.reasoning_tokens_limit": 7,
}
PYDANTIC_AI = {
    "gen_ai.usage.input_tokens": 40,
    "gen_ai.usage.output_tokens": 10,
    "gen_ai.usage.details.input_tokens": 40,
    "gen_ai.usage.details.cache_read_tokens": 8,
    "gen_ai.usage.details.reasoning_tokens": 5,
    "gen_ai.usage.details.accepted_prediction_tokens": 3,
}


class TestTotals:
    @pytest.mark.parametrize(
        ("scope", "counts", "total"),
        [
            ("strands.telemetry.tracer", STRANDS, 1100),
            ("gcp.vertex.agent", GOOGLE_ADK, 50),
            ("pydantic-ai", PYDANTIC_AI, 50),
            ("opentelemetry.instrumentation.openai.v1", STRANDS, 1100),
            ("openlit.x", PYDANTIC_AI, 50),
        ],
    )
    def test_nothing_unknown_is_added(self, scope: str, counts: dict[str, int], total: int) -> None:
        """Whatever a library adds to its usage, the total is input and output."""
        assert seen({**CALL, **counts}, scope=scope).tokens == total

    def test_details_keep_their_values(self) -> None:
        """A name that no table knows leaves the namespace with its value."""
        made = values(processed_span(Pipeline(), span({**CALL, **STRANDS}), scope="strands"))
        assert made["sidelight.usage.other.some_future_tokens"] == 300
        assert made[c.CACHED_TOKENS] == 100
        assert made[c.CACHE_WRITE_TOKENS] == 200
        assert c.TOTAL_TOKENS not in made

    def test_phoenixs_details(self) -> None:
        """Phoenix shows audio tokens under OpenInference's name, so a total stands beside them."""
        counts = {"llm.token_count.prompt": 40, "llm.token_count.completion": 10,
                  "llm.token_count.prompt_details.audio": 30}  # fmt: skip
        one = span({c.SPAN_KIND: "LLM", "llm.model_name": "m", **counts})
        made = processed_span(Pipeline(), one, scope="openinference.instrumentation.openai")
        assert values(made)["llm.token_count.prompt_details.audio"] == 30
        assert observation(made, {}, {}).tokens == 50

    def test_a_total_that_says_more(self) -> None:
        """Where the parts do not add up to the sender's total, the total counts."""
        counts = {"llm.token_count.prompt": 40, "llm.token_count.total": 55}
        made = seen({c.SPAN_KIND: "LLM", **counts}, scope="openinference.x")
        assert made.tokens == 55

    @pytest.mark.parametrize("total", [float("nan"), 1e300, "63", True, -1])
    def test_a_total_that_is_none(self, total: object) -> None:
        """A total that is no number, or a strange one, breaks nothing."""
        details = {"llm.token_count.prompt_details.audio": 2**63 - 1}
        counts = {c.INPUT_TOKENS: 2**63 - 1, c.OUTPUT_TOKENS: 2**63 - 1, **details}
        made = seen({**CALL, **counts, "gen_ai.usage.total_tokens": total})
        assert made.name == "chat"

    def test_usage_as_langfuse_names_it(self) -> None:
        """Langfuse reads pydantic-ai by rules of its own, which its own attribute overrules."""
        made = values(
            processed_span(Pipeline(), span({**CALL, **PYDANTIC_AI}), scope="pydantic-ai")
        )
        assert made[c.LANGFUSE_USAGE] == (
            '{"input": 32, "output": 5, "input_cached_tokens": 8, "output_reasoning_tokens": 5, '
            '"total": 50}'
        )
