"""vLLM's own exporter, in a real server without Sidelight in it, as a client with a token."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sidelight import conventions as c
from sidelight.otlp.span import attributes
from support.collector import Collector, settings
from support.environments import python_of
from support.otlp_store import OtlpStore
from support.vllm_server import running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]
TOKEN = "token-of-vllm-0123456789"
HEADERS = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}"}
# What a server of vLLM's does with `--otlp-traces-endpoint`, and the span that its engine makes.
TRACES = """
import sys
from vllm.tracing import init_tracer
init_tracer("vllm.llm_engine", sys.argv[1]).start_span("llm_request").end()
"""


@pytest.fixture
def store() -> Iterator[OtlpStore]:
    """Where the collector sends to."""
    with OtlpStore() as store:
        yield store


@pytest.fixture
def collector(store: OtlpStore, tmp_path: Path) -> Iterator[Collector]:
    """A collector that wants a token."""
    receivers = {"otlp_http": {"port": 0}, "otlp_grpc": {"port": 0}}
    auth = {"tokens": [{"env": "TOKEN", "tenant": "models"}]}
    config = settings(tmp_path, receivers=receivers, auth=auth, destinations=[store.destination()])
    with Collector(config, tmp_path / "collector", env={"TOKEN": TOKEN}) as collector:
        yield collector


def tenants(store: OtlpStore) -> set[object]:
    """The tenants of all resources."""
    return {
        attributes(holder.resource.attributes).get(c.TENANT)
        for request in store.traces
        for holder in request.resource_spans
    }


def test_a_servers_spans_arrive_under_their_tenant(
    collector: Collector, store: OtlpStore, tmp_path: Path
) -> None:
    """Over gRPC, vLLM's default: the engine's span of the asked request, processed."""
    trace_id = os.urandom(16)
    with running_vllm(
        tmp_path / "vllm",
        instrumented=False,
        environment={**HEADERS, "OTEL_BSP_SCHEDULE_DELAY": "200"},
        arguments=["--otlp-traces-endpoint", f"http://127.0.0.1:{collector.grpc_port}"],
    ) as server:
        answer = httpx.post(
            f"{server.url}/v1/chat/completions",
            json={
                "model": server.model_name,
                "messages": [{"role": "user", "content": "What is it?"}],
                "max_tokens": 8,
            },
            headers={"traceparent": f"00-{trace_id.hex()}-{os.urandom(8).hex()}-01"},
            timeout=120,
        )
        assert answer.status_code == 200
        eventually(lambda: any(s.trace_id == trace_id for s in store.spans("llm_request")))
    (span,) = [s for s in store.spans("llm_request") if s.trace_id == trace_id]
    served = attributes(span.attributes)[c.SERVED_OUTPUT_TOKENS]
    assert served == answer.json()["usage"]["completion_tokens"]
    assert tenants(store) == {"models"}


def test_its_other_protocol_is_understood(collector: Collector, store: OtlpStore) -> None:
    """Over HTTP, sent by vLLM's own tracing, which is all of the server that differs."""
    subprocess.run(
        [python_of("vllm"), "-c", TRACES, f"{collector.url}/v1/traces"],
        env={**os.environ, **HEADERS, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
        check=True,
    )
    eventually(lambda: store.spans("llm_request"))
    assert tenants(store) == {"models"}
