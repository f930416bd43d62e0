"""A real vLLM with `--disable-log-stats` and two API servers, with Sidelight and without."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sidelight import conventions as names
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.vllm_server import running_vllm

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]

REQUESTS = 6
COMPLETIONS = "/v1/completions"
ARGUMENTS = ["--disable-log-stats", "--api-server-count", "2"]


@dataclass(frozen=True)
class Run:
    """What a server showed after the same requests."""

    families: dict[str, str]
    samples: dict[str, float]
    traces: list[list[ReceivedSpan]]
    answers: list[str]


def run(directory: Path, receiver: OtlpReceiver, *, instrumented: bool) -> Run:
    trace_ids = [os.urandom(16).hex() for _ in range(REQUESTS)]
    with running_vllm(
        directory, otlp_endpoint=receiver.url, instrumented=instrumented, arguments=ARGUMENTS
    ) as server:
        answers = []
        for trace_id in trace_ids:
            # A connection each, so that both API servers have requests.
            response = httpx.post(
                f"{server.url}{COMPLETIONS}",
                json={
                    "model": server.model_name,
                    "prompt": "some words",
                    "max_tokens": 20,
                    "temperature": 0,
                    "ignore_eos": True,
                },
                headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
                timeout=120,
            )
            answers.append(response.json()["choices"][0]["text"])
        text = httpx.get(server.metrics_url, timeout=60).text

        def received() -> list[list[ReceivedSpan]]:
            spans = receiver.spans()
            traces = [[span for span in spans if span.trace_id == id_] for id_ in trace_ids]
            return traces if all(any(s.kind == 2 for s in trace) for trace in traces) else []

        traces = receiver.wait_for(received) if instrumented else []
    return Run(
        families=dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)),
        samples={
            series: float(value)
            for series, value in re.findall(r"^(\w+{.*}) (\S+)$", text, re.MULTILINE)
            if series.startswith("vllm:") or ("_count{" in series and COMPLETIONS in series)
        },
        traces=traces,
        answers=answers,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Run]]:
    """The same without Sidelight and with it."""
    with OtlpReceiver() as receiver:
        yield (
            run(tmp_path_factory.mktemp("bare"), receiver, instrumented=False),
            run(tmp_path_factory.mktemp("observed"), receiver, instrumented=True),
        )


def test_vllm_stays_as_it_is_configured(runs: tuple[Run, Run]) -> None:
    """`/metrics` has the same families and values, and none of the engine's statistics."""
    bare, observed = runs
    assert observed.families == bare.families
    assert observed.samples == bare.samples
    assert sum(bare.samples.values()) >= REQUESTS
    assert not [family for family in bare.families if family.startswith("vllm:")]
    assert observed.answers == bare.answers


def test_what_is_known_without_statistics(runs: tuple[Run, Run]) -> None:
    """Tokens and the time of the first token are on the spans; what is not known is not."""
    for trace in runs[1].traces:
        (server,) = [span for span in trace if span.kind == 2]
        assert server.attributes[names.SERVED_OUTPUT_TOKENS] == 20
        assert server.attributes[names.SERVED_INPUT_TOKENS] > 0
        assert server.attributes[names.FINISH_REASONS] == ["length"]
        assert server.attributes[names.TIME_TO_FIRST_TOKEN] > 0
        assert server.attributes[names.ENGINE_SEQUENCES] == 1
        assert names.QUEUE_TIME not in server.attributes
        assert names.PREFILL_TIME not in server.attributes
