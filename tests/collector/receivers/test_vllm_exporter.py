"""vLLM's own exporter, in a real server without Sidelight in it, as a client with a token."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from sidelight import conventions as c
from sidelight.otlp.span import attributes
from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.vllm_server import running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]
TOKEN = "token-of-vllm-0123456789"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_spans_arrive_under_their_tenant(protocol: str, tmp_path: Path) -> None:
    """Over both protocols that vLLM speaks: the engine's span of the asked request, processed."""
    receivers = {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"port": 0},
    }
    auth = {"tokens": [{"env": "TOKEN", "tenant": "models"}]}
    with OtlpStore() as store:
        config = settings(
            tmp_path, receivers=receivers, auth=auth, destinations=[store.destination()]
        )
        with Collector(config, tmp_path / "collector", env={"TOKEN": TOKEN}) as collector:
            endpoint = (
                f"http://127.0.0.1:{collector.grpc_port}"
                if protocol == "grpc"
                else f"{collector.url}/v1/traces"
            )
            trace_id = os.urandom(16)
            with running_vllm(
                tmp_path / "vllm",
                instrumented=False,
                environment={
                    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": protocol,
                    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
                    "OTEL_BSP_SCHEDULE_DELAY": "200",
                },
                arguments=["--otlp-traces-endpoint", endpoint],
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
                eventually(
                    lambda: any(s.trace_id == trace_id for s in store.spans("llm_request")),
                    seconds=120,
                )
    (span,) = [s for s in store.spans("llm_request") if s.trace_id == trace_id]
    found = attributes(span.attributes)
    assert found[c.SERVED_OUTPUT_TOKENS] == answer.json()["usage"]["completion_tokens"]
    tenants = {
        attributes(holder.resource.attributes).get(c.TENANT)
        for request in store.traces
        for holder in request.resource_spans
    }
    assert tenants == {"models"}
