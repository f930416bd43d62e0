"""Costs by token and by GPU-second, and price tables that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidelight import conventions as c
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.processors.cost.prices import load
from sidelight.collector.processors.pipeline import Pipeline
from support.processing import processed_span, span, values

TABLE = """\
prices:
  - model: gpt-4o*
    provider: openai
    input_per_million: 2.5
    cached_input_per_million: 1.25
    output_per_million: 10
  - lora: legal-*
    input_per_million: 1
    output_per_million: 2
  - model: Qwen/*
    gpu_second: 0.001
    gpus: 2
    assumed_batch_size: 4
  - model: "*"
    service: internal
    output_per_million: 7
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """A pipeline with the table above."""
    path = tmp_path / "prices.yaml"
    path.write_text(TABLE)
    return Pipeline(prices=load(path))


def priced(pipeline: Pipeline, attributes: dict[str, Any], **where: str) -> dict[str, Any]:
    """Attributes of a span after its cost was added; by default of Sidelight's own plugin."""
    return values(processed_span(pipeline, span(attributes), **({"scope": c.SCOPE_VLLM} | where)))


class TestByToken:
    def test_cost(self, pipeline: Pipeline) -> None:
        """Cached tokens have their own price, and both backends get the sum and its parts."""
        made = priced(
            pipeline,
            {"gen_ai.system": "openai", "gen_ai.response.model": "gpt-4o-2024-08-06",
             "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 100,
             c.CACHED_TOKENS: 400},
            scope="some.library",
        )  # fmt: skip
        assert made[c.LLM_COST_PROMPT] == pytest.approx(600 * 2.5e-6 + 400 * 1.25e-6)
        assert made[c.LLM_COST_COMPLETION] == pytest.approx(0.001)
        assert made[c.USAGE_COST] == made[c.LLM_COST_TOTAL] == pytest.approx(0.003)
        assert json.loads(made[c.LANGFUSE_COST]) == {
            "input": 0.002,
            "output": 0.001,
            "total": 0.003,
        }

    def test_an_adapter_has_its_own_price(self, pipeline: Pipeline) -> None:
        """vLLM serves an adapter under its own name, which the table knows."""
        made = priced(pipeline, {c.REQUEST_MODEL: "legal-v2", c.INPUT_TOKENS: 1_000_000})
        assert made[c.USAGE_COST] == 1.0

    def test_by_service(self, pipeline: Pipeline) -> None:
        """An entry can be for one service only."""
        attributes = {c.REQUEST_MODEL: "x", c.OUTPUT_TOKENS: 1_000_000}
        assert priced(pipeline, attributes, service="internal")[c.USAGE_COST] == 7.0
        assert c.USAGE_COST not in priced(pipeline, attributes)

    def test_the_senders_cost_stays(self, pipeline: Pipeline) -> None:
        """A cost that came with the span is not replaced, a zero is."""
        attributes = {c.REQUEST_MODEL: "legal", c.REQUEST_TEMPERATURE: 0.1, c.OUTPUT_TOKENS: 1}
        attributes[c.REQUEST_MODEL] = "legal-v2"
        assert priced(pipeline, {**attributes, c.USAGE_COST: 5.0})[c.USAGE_COST] == 5.0
        assert priced(pipeline, {**attributes, c.USAGE_COST: 0})[c.USAGE_COST] == 2e-6

    def test_without_tokens_or_price(self, pipeline: Pipeline) -> None:
        """A span without tokens, or of a model that no entry fits, has no cost."""
        assert c.USAGE_COST not in priced(pipeline, {c.REQUEST_MODEL: "legal-v2"})
        assert c.USAGE_COST not in priced(pipeline, {c.REQUEST_MODEL: "y", c.INPUT_TOKENS: 1})


TIMES = {c.REQUEST_MODEL: "Qwen/Qwen3-8B", c.PREFILL_TIME: 0.5, c.DECODE_TIME: 1.5}


class TestByGpuSecond:
    def test_cost(self, pipeline: Pipeline) -> None:
        """A request pays its share of the batch, on all GPUs."""
        made = priced(pipeline, {**TIMES, c.BATCH_SIZE_MEAN: 8.0})
        assert made[c.GPU_TIME] == pytest.approx(2.0 * 2 / 8)
        assert made[c.USAGE_COST] == pytest.approx(0.0005)
        assert made[c.LLM_COST_PROMPT] == pytest.approx(0.000125)
        assert made[c.LLM_COST_COMPLETION] == pytest.approx(0.000375)

    def test_a_share_is_never_more_than_all(self, pipeline: Pipeline) -> None:
        """Several sequences of one request pay for each, at most for the whole GPU."""
        made = priced(pipeline, {**TIMES, c.BATCH_SIZE_MEAN: 1.5, c.ENGINE_SEQUENCES: 4})
        assert made[c.GPU_TIME] == pytest.approx(4.0)

    def test_batch_size_that_is_not_known(self, pipeline: Pipeline) -> None:
        """Where the span does not say it, the table's assumption counts."""
        assert priced(pipeline, TIMES)[c.GPU_TIME] == pytest.approx(1.0)

    def test_no_price_for_langfuse_is_no_price(self, pipeline: Pipeline) -> None:
        """What the plugin says so that Langfuse estimates nothing gives way to the table."""
        made = priced(pipeline, {**TIMES, c.LANGFUSE_COST: c.LANGFUSE_NO_COST})
        assert json.loads(made[c.LANGFUSE_COST])["total"] == pytest.approx(0.001)

    def test_vllms_own_span(self, pipeline: Pipeline) -> None:
        """The engine's own span is priced once it is canonical."""
        made = values(
            processed_span(
                pipeline,
                span(
                    {"gen_ai.response.model": "Qwen/Q", "gen_ai.latency.time_in_model_prefill": 1.0,
                     "gen_ai.latency.time_in_model_decode": 1.0},
                    name="llm_request", parent=b"p" * 8,
                ),
                scope=c.SCOPE_VLLM_BUILTIN,
            )
        )  # fmt: skip
        assert made[c.USAGE_COST] == pytest.approx(0.001)


BAD = {
    "": ": is empty; it must have a list `prices`",
    "- x": ": must be a mapping of keys, not a list",
    "prices: []\nprice: []": ":2: price: unknown key; known keys: prices",
    "prices: 3": ":1: prices (is 3): must be a list",
    "prices:\n  - model: m\n    input: 2": (
        ":3: prices.0.input: unknown key; known keys: assumed_batch_size,"
    ),
    "prices:\n  - model: m\n    output_per_million: cheap": (
        ":3: prices.0.output_per_million (is 'cheap'): input should be a valid number"
    ),
    "prices:\n  - model: m\n    output_per_million: true": (
        ":3: prices.0.output_per_million (is True): input should be a valid number"
    ),
    "prices:\n  - model: m\n    output_per_million: -1": (
        ":3: prices.0.output_per_million (is -1): input should be greater than or equal to 0"
    ),
    "prices:\n  - model: m\n    output_per_million: .inf": (
        ":3: prices.0.output_per_million (is inf): input should be a finite number"
    ),
    "prices:\n  - model: m\n    gpu_second: 1\n    gpus: 0": (
        ":4: prices.0.gpus (is 0): input should be greater than 0"
    ),
    "prices:\n  - model: 3\n    output_per_million: 1": (
        ":2: prices.0.model (is 3): input should be a valid string"
    ),
    "prices:\n  - output_per_million: 1": ":2: prices.0: name exactly one of model and lora",
    "prices:\n  - model: m": ":2: prices.0: give either prices per million tokens",
    "prices:\n  - model: m\n    gpu_second: 1\n    input_per_million: 1": (
        ":2: prices.0: give either prices per million tokens"
    ),
    "prices:\n  - model: m\n    model: n\n    gpu_second: 1": (
        ":3: prices.0.model: repeated, first in line 2"
    ),
    "prices: [": ":1:10: not valid YAML",
}


class TestBadTables:
    @pytest.mark.parametrize(("text", "message"), BAD.items())
    def test_message(self, tmp_path: Path, text: str, message: str) -> None:
        """What is wrong is named with file, line and key."""
        path = tmp_path / "prices.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value).startswith(f"processors.prices: {path}{message}")

    def test_all_faults_at_once(self, tmp_path: Path) -> None:
        """A table with several faults names them all."""
        path = tmp_path / "prices.yaml"
        path.write_text("prices:\n  - model: m\n    gpus: x\n  - lora: 1\n")
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value).splitlines() == [
            f"processors.prices: {path}:3: prices.0.gpus (is 'x'): input should be a valid number",
            f"processors.prices: {path}:4: prices.1.lora (is 1): input should be a valid string",
        ]

    def test_no_file(self, tmp_path: Path) -> None:
        """A file that is not there is said so."""
        with pytest.raises(
            ConfigError, match=r"processors\.prices: .*none\.yaml: cannot be read: No such file"
        ):
            load(tmp_path / "none.yaml")
