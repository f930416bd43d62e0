"""A real vLLM server with content captured: what each API said, called and refused.

It traces by itself too, and is without wrapt, as vLLM is by itself. That spans arrive without
OpenTelemetry too is in `test_real_vllm.py`, and that they arrive with all that may be installed in
the other tests of this folder; all inject the same folder.

vLLM's own spans go to a collector that wants a token, over gRPC, which is vLLM's default. Its other
protocol is in `collector/receivers/test_vllm_exporter.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from sidelight.otlp.span import attributes
from support.collector import Collector, settings
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.otlp_store import OtlpStore
from support.talking_model import made_to_say
from support.vllm_server import running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(600)]

TOKEN: Final = "token-of-vllm-0123456789"
SERVER, CONSUMER = 2, 5
SCHEMA: Final = {"type": "object", "properties": {"at": {"type": "string"}}}
CALLED: Final = '<think>hm</think><tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n'
SAYS_A_CALL: Final = made_to_say(f"{CALLED}</tool_call>")
QUESTION: Final = [{"role": "user", "content": "look at it"}]


@dataclass(frozen=True)
class Service:
    """The server, Sidelight's telemetry and vLLM's own, and a client of it."""

    server: VllmServer
    receiver: OtlpReceiver
    own: OtlpStore
    client: httpx.Client

    def spans(self, trace_id: str, least: int = 1) -> list[ReceivedSpan]:
        """The spans of a trace, once the server span and a number of others have arrived."""

        def received() -> list[ReceivedSpan]:
            spans = self.receiver.spans(lambda span: span.trace_id == trace_id)
            complete = len(spans) >= least and any(span.kind == SERVER for span in spans)
            return spans if complete else []

        spans: list[ReceivedSpan] = self.receiver.wait_for(received)
        return spans

    def ask(self, path: str, **body: Any) -> tuple[httpx.Response, ReceivedSpan]:
        """Post to `path` below a new trace; the answer and the server span."""
        trace_id = os.urandom(16).hex()
        response = self.client.post(
            path,
            json={"model": self.server.model_name} | body,
            headers={"traceparent": f"00-{trace_id}-{'b' * 16}-01"},
        )
        (server,) = [span for span in self.spans(trace_id) if span.kind == SERVER]
        return response, server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One start of vLLM for all tests here."""
    directory: Path = tmp_path_factory.mktemp("vllm")
    with OtlpReceiver() as receiver, OtlpStore() as own:
        config = settings(
            directory,
            auth={"tokens": [{"env": "TOKEN", "tenant": "models"}]},
            destinations=[own.destination()],
        )
        with (
            Collector(config, directory / "collector", env={"TOKEN": TOKEN}) as collector,
            running_vllm(
                directory,
                otlp_endpoint=receiver.url,
                environment={
                    "SIDELIGHT_CAPTURE_CONTENT": "full",
                    "VLLM_ENABLE_RESPONSES_API_STORE": "1",
                    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
                    "OTEL_BSP_SCHEDULE_DELAY": "200",
                },
                arguments=[
                    *("--otlp-traces-endpoint", f"http://127.0.0.1:{collector.grpc_port}"),
                    "--enable-scale-out",
                ],
                talks=True,
                without=["wrapt"],
            ) as server,
            httpx.Client(base_url=server.url, timeout=120) as client,
        ):
            yield Service(server, receiver, own, client)


def parts(span: ReceivedSpan) -> list[dict[str, Any]]:
    """The parts of the one message of the answer, without the ids of calls."""
    (message,) = json.loads(span.attributes[names.OUTPUT_MESSAGES])
    assert message["finish_reason"] == span.attributes[names.FINISH_REASONS][0]
    return [{key: part[key] for key in part if key != "id"} for part in message["parts"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/invocations"])
def test_reasoning_and_calls_of_tools(service: Service, path: str, stream: bool) -> None:
    """The same parts and reason in all APIs, streamed or not."""
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
    if path == "/v1/responses":
        body: dict[str, Any] = {"input": "look at it", "max_output_tokens": 100,
                                "tools": [{"type": "function", **function}]}  # fmt: skip
    else:
        body = {"messages": QUESTION, "max_tokens": 100,
                "tools": [{"type": "function", "function": function}]}  # fmt: skip
    response, span = service.ask(path, stream=stream, tool_choice="auto", **body, **SAYS_A_CALL)
    assert response.status_code == 200, response.text
    assert parts(span) == [
        {"type": "reasoning", "content": "hm"},
        {"type": "tool_call", "name": "look", "arguments": '{"at": "it"}'},
    ]
    assert span.attributes[names.FINISH_REASONS] == ["tool_calls"]
    assert span.attributes[names.HTTP_ROUTE] == path
    assert span.attributes[names.OPERATION] == "chat"
    assert "Looks." in span.attributes[names.TOOL_DEFINITIONS]
    (asked,) = json.loads(span.attributes[names.INPUT_VALUE])
    assert asked == {"role": "user", "content": "look at it"}


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_api(service: Service, stream: bool) -> None:
    """Blocks of the request and of the answer, and its counts of cached tokens."""
    text = "the same words over and over again " * 40
    history = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "it"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "21 °C"},
            {"type": "text", "text": "so?"}]},
    ]  # fmt: skip
    for _ in range(2):
        response, span = service.ask(
            "/v1/messages", messages=history, max_tokens=5, stream=stream, system="be brief",
            thinking={"type": "disabled"},
        )  # fmt: skip
        assert response.status_code == 200, response.text
    asked = json.loads(span.attributes[names.INPUT_VALUE])
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool", "user"]
    assert asked[2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":"it"}'}
    assert asked[3] == {"role": "tool", "content": "21 °C", "tool_call_id": "t1"}
    assert parts(span)
    assert span.attributes[names.FINISH_REASONS] == ["length"]
    assert span.attributes[names.SERVED_CACHED_TOKENS] > 0
    assert span.attributes[names.SERVED_INPUT_TOKENS] > span.attributes[names.SERVED_CACHED_TOKENS]
    phases = service.spans(span.trace_id, 2)
    (prefill,) = [phase for phase in phases if phase.name == "prefill"]
    for name in (names.SERVED_INPUT_TOKENS, names.SERVED_CACHED_TOKENS):
        assert prefill.attributes[name] == span.attributes[name]


def test_background_response(service: Service) -> None:
    """Its work follows the server span, with the tokens of the finished response."""
    response, span = service.ask(
        "/v1/responses", input="look", max_output_tokens=5, background=True, store=True
    )
    assert response.json()["status"] == "queued"
    assert names.SERVED_OUTPUT_TOKENS not in span.attributes

    def worked() -> list[ReceivedSpan]:
        """The spans of the trace, once that of the work is here, which comes behind its phases."""
        spans = service.receiver.spans(lambda one: one.trace_id == span.trace_id)
        return spans if any(one.kind == CONSUMER for one in spans) else []

    spans: list[ReceivedSpan] = service.receiver.wait_for(worked)
    (work,) = [child for child in spans if child.kind == CONSUMER]
    assert work.parent_id == span.span_id
    assert work.attributes[names.RESPONSE_ID] == response.json()["id"]

    def stored() -> dict[str, Any] | None:
        """vLLM keeps the answer a moment after its engine has ended it."""
        told: dict[str, Any] = service.client.get(f"/v1/responses/{response.json()['id']}").json()
        return told if told["usage"] else None

    finished: dict[str, Any] = eventually(stored)
    assert work.attributes[names.SERVED_OUTPUT_TOKENS] == finished["usage"]["output_tokens"]
    assert {child.parent_id for child in spans} == {"b" * 16, span.span_id, work.span_id}


def test_token_ids_in_and_out(service: Service) -> None:
    """Parameters are in an object of their own, and ids are only counted."""
    _, span = service.ask(
        "/inference/v1/generate",
        token_ids=[5, 6, 7],
        sampling_params={"max_tokens": 4, "temperature": 0.5, "top_k": 3, "ignore_eos": True},
    )
    assert span.attributes[names.REQUEST_MAX_TOKENS] == 4
    assert span.attributes[names.REQUEST_TOP_K] == 3
    assert span.attributes[names.OUTPUT_VALUE] == "[4 token ids]"
    assert span.attributes[names.ENGINE_REQUEST_ID] == span.attributes[names.RESPONSE_ID]


def test_scores(service: Service) -> None:
    """A generative ranking is a sequence for each item, and its output the scores."""
    response, span = service.ask(
        "/generative_scoring", query="is it", items=["a", "b"], label_token_ids=[5, 6]
    )
    assert span.attributes[names.OPERATION] == "score"
    assert span.attributes[names.ENGINE_SEQUENCES] == 2
    told = json.loads(span.attributes[names.OUTPUT_VALUE])
    assert [score["score"] for score in told] == [
        score["score"] for score in response.json()["data"]
    ]


def test_batch_of_chats(service: Service) -> None:
    """Each chat is a sequence."""
    response, span = service.ask(
        "/v1/chat/completions/batch", messages=[QUESTION, QUESTION], max_tokens=4
    )
    assert span.attributes[names.ENGINE_SEQUENCES] == 2
    usage = response.json()["usage"]
    assert span.attributes[names.SERVED_INPUT_TOKENS] == usage["prompt_tokens"]


def test_parameters(service: Service) -> None:
    """All that the conventions name."""
    given = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": 7, "presence_penalty": 0.1,
             "frequency_penalty": 0.2, "n": 2, "max_completion_tokens": 3}  # fmt: skip
    _, span = service.ask(
        "/v1/chat/completions", messages=QUESTION, stop=["zzz"],
        response_format={"type": "json_object"}, **given,
    )  # fmt: skip
    assert span.attributes.items() >= {
        names.REQUEST_TEMPERATURE: 0.5, names.REQUEST_TOP_P: 0.9, names.REQUEST_TOP_K: 5,
        names.REQUEST_SEED: 7, names.REQUEST_PRESENCE_PENALTY: 0.1,
        names.REQUEST_FREQUENCY_PENALTY: 0.2, names.REQUEST_CHOICES: 2,
        names.REQUEST_MAX_TOKENS: 3, names.OUTPUT_TYPE: "json",
    }.items()  # fmt: skip
    assert span.attributes[names.REQUEST_STOP] == ["zzz"]


def test_repeated_headers(service: Service) -> None:
    """A proxy's baggage and trace state beside the app's."""
    trace_id = os.urandom(16).hex()
    service.client.post(
        "/v1/completions",
        json={"model": service.server.model_name, "prompt": "a", "max_tokens": 2},
        headers=[
            ("traceparent", f"00-{trace_id}-{'b' * 16}-01"), ("tracestate", "a=1"),
            ("baggage", "session.id=s1"), ("tracestate", "b=2"), ("baggage", "user.id=u1"),
        ],
    )  # fmt: skip
    for span in service.spans(trace_id, 2):
        assert span.trace_state == "a=1,b=2"
        assert span.attributes[names.SESSION_ID] == "s1"
        assert span.attributes[names.USER_ID] == "u1"


def test_client_leaves_before_the_answer(service: Service) -> None:
    """What was never sent has no status."""

    def leave() -> str | None:
        """The trace, unless the client was so slow that all was answered in time."""
        trace_id = os.urandom(16).hex()
        with contextlib.suppress(httpx.ReadTimeout):
            service.client.post(
                "/v1/completions",
                json={"model": service.server.model_name, "prompt": "a", "max_tokens": 1500,
                      "ignore_eos": True},
                headers={"traceparent": f"00-{trace_id}-{'b' * 16}-01"},
                timeout=httpx.Timeout(120, read=0.5),
            )  # fmt: skip
            return None
        return trace_id

    trace_id: str = eventually(leave)
    (span,) = [span for span in service.spans(trace_id) if span.kind == SERVER]
    assert span.attributes[names.ERROR_TYPE] == names.CLIENT_DISCONNECT
    assert names.HTTP_STATUS not in span.attributes
    assert span.status == 0


def test_vllms_own_traces(service: Service) -> None:
    """They arrive under the tenant of its token, with the tokens of the answer; and ours do."""
    # The second answer is the one that failed once libraries on PYTHONPATH had replaced vLLM's own.
    for _ in range(3):
        response, span = service.ask("/v1/chat/completions", messages=QUESTION, max_tokens=5)
        assert response.status_code == 200, response.text

        def own(trace_id: str = span.trace_id) -> list[tuple[Resource, Span]]:
            return [
                (resource, of_vllm)
                for resource, _, of_vllm in service.own.with_origin()
                if of_vllm.name == "llm_request" and of_vllm.trace_id.hex() == trace_id
            ]

        ((resource, of_vllm),) = eventually(own)
        served = attributes(of_vllm.attributes)[names.SERVED_OUTPUT_TOKENS]
        assert served == response.json()["usage"]["completion_tokens"]
        assert attributes(resource.attributes)[names.TENANT] == "models"
    assert {span.scope for span in service.receiver.spans()} == {names.SCOPE_VLLM}


def test_errors(service: Service) -> None:
    """The API's own words, with content."""
    response, span = service.ask("/v1/chat/completions", messages=QUESTION, n="x")
    assert span.message == response.json()["error"]["message"]
    response, span = service.ask("/v1/messages", messages=QUESTION)
    assert span.message == response.json()["error"]["message"]
    assert (span.status, span.attributes[names.ERROR_TYPE]) == (2, "400")


def test_no_faults(service: Service) -> None:
    """Nothing of this was too much for the instrumentation."""
    log = service.server.process.log_path.read_text(errors="replace")
    assert "Sidelight:" not in log
    assert "Traceback" not in log
    assert "Failed to load plugin" not in log
