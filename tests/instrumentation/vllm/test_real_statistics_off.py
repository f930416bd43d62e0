"""A real vLLM with `--disable-log-stats` and two API servers, with Sidelight and without.

With it there is no observer process: a thread of the process that starts the API servers observes.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo import model, vllm_server
from sidelight.demo.environments import cache_directory
from support.environments import python_of
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.process_tree import observers_below
from support.vllm_requests import CLIENT_SPAN
from support.vllm_server import running_vllm

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]

REQUESTS = 6
COMPLETIONS = "/v1/completions"
# Long answers, so that one is not done when the server is told to end.
MAX_TOKENS = 4000
ARGUMENTS = ["--disable-log-stats", "--api-server-count", "2", "--max-model-len", "4096"]
ARGUMENTS += ["--num-gpu-blocks-override", "64"]


@dataclass(frozen=True)
class Run:
    """What a server showed after the same requests."""

    families: dict[str, str]
    samples: dict[str, float]
    traces: list[list[ReceivedSpan]]
    answers: list[str]
    observers: list[int]
    # Of requests that ended just before vLLM, and of one that had not ended.
    last_traces: list[list[ReceivedSpan]]
    log: str


def run(directory: Path, receiver: OtlpReceiver, *, instrumented: bool) -> Run:
    trace_ids = [os.urandom(16).hex() for _ in range(REQUESTS)]
    last_ids = [os.urandom(16).hex() for _ in range(REQUESTS)]
    with running_vllm(
        directory,
        otlp_endpoint=receiver.url,
        instrumented=instrumented,
        environment={"SIDELIGHT_VLLM_OBSERVER": "thread"},
        arguments=ARGUMENTS,
    ) as server:
        body: dict[str, Any] = {
            "model": server.model_name,
            "prompt": "some words",
            "max_tokens": 20,
            "temperature": 0,
            "ignore_eos": True,
        }

        def ask(trace_id: str) -> str:
            # A connection each, so that both API servers have requests.
            with httpx.Client(base_url=server.url, timeout=120) as client:
                response = client.post(COMPLETIONS, json=body, headers=below(trace_id))
                # On the same connection: its API server is done with the request before.
                client.get("/health")
            return str(response.json()["choices"][0]["text"])

        answers = [ask(trace_id) for trace_id in trace_ids]
        text = httpx.get(server.metrics_url, timeout=60).text

        def received() -> list[list[ReceivedSpan]]:
            spans = receiver.spans()
            traces = [[span for span in spans if span.trace_id == id_] for id_ in trace_ids]
            return traces if all(any(s.kind == 2 for s in trace) for trace in traces) else []

        traces = receiver.wait_for(received) if instrumented else []
        observers = observers_below(server.process.pid)
        for trace_id in last_ids[:-1]:
            ask(trace_id)
        endless = body | {"max_tokens": MAX_TOKENS, "stream": True}
        with httpx.stream(
            "POST",
            f"{server.url}{COMPLETIONS}",
            json=endless,
            headers=below(last_ids[-1]),
            timeout=120,
        ) as response:
            # Kept, as its end would close the connection.
            chunks = response.iter_bytes()
            next(chunks)
            server.process.stop(grace_seconds=60.0)
    # Without waiting: with this process all of a container end.
    spans = receiver.spans()
    return Run(
        families=dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)),
        samples={
            series: float(value)
            for series, value in re.findall(r"^(\w+{.*}) (\S+)$", text, re.MULTILINE)
            if series.startswith("vllm:") or ("_count{" in series and COMPLETIONS in series)
        },
        traces=traces,
        answers=answers,
        observers=observers,
        last_traces=[[span for span in spans if span.trace_id == id_] for id_ in last_ids],
        log=server.process.log_path.read_text(errors="replace"),
    )


def below(trace_id: str) -> dict[str, str]:
    """The header of a caller in this trace."""
    return {"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-01"}


def run_without_sidelight(directory: Path, receiver: OtlpReceiver) -> Run:
    """Once for each state of vLLM's environment, of its options and of this file.

    It takes 30 s of CPU, and nothing of Sidelight has a part in it.
    """
    digest = hashlib.sha256(str(python_of("vllm")).encode())
    for part in (run, running_vllm, vllm_server, model):
        digest.update(Path(inspect.getfile(part)).read_bytes())
    kept = cache_directory() / "tests" / f"bare-vllm-{digest.hexdigest()[:12]}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        written = directory / kept.name
        written.write_text(json.dumps(asdict(run(directory, receiver, instrumented=False))))
        shutil.move(written, kept)
    return Run(**json.loads(kept.read_text()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Run]]:
    """The same without Sidelight and with it."""
    with OtlpReceiver() as receiver:
        yield (
            run_without_sidelight(tmp_path_factory.mktemp("bare"), receiver),
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


def test_the_last_spans_without_an_observer_process(runs: tuple[Run, Run]) -> None:
    """vLLM kills both API servers when it is told to end; what they had written is sent."""
    _, observed = runs
    assert observed.observers == []
    servers = [[span for span in trace if span.kind == 2] for trace in observed.last_traces]
    assert [len(spans) for spans in servers] == [1] * REQUESTS
    *answered, unfinished = (spans[0].attributes for spans in servers)
    assert {attributes[names.SERVED_OUTPUT_TOKENS] for attributes in answered} == {20}
    # An API server that learns of its engine's end before its own answers with an error.
    assert unfinished[names.ERROR_TYPE] in (names.SERVER_ENDED, "InternalServerError")
    # Both API servers are observed by one thread.
    instances = {
        span.resource[names.SERVICE_INSTANCE_ID]
        for trace in (*observed.traces, *observed.last_traces)
        for span in trace
    }
    assert len(instances) == 1
    assert "Sidelight:" not in observed.log
