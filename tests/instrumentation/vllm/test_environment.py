"""What the user set counts, whatever vLLM writes into its environment."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest

from sidelight.instrumentation.vllm import environment
from support import environments, paths, vllm_server

# As an API server does: the plugin first, then vLLM's own tracing, then the first stat logger.
PROGRAM = """
import os
from sidelight.instrumentation.vllm import plugin
plugin.install()
from vllm.tracing import init_tracer
init_tracer("vllm.llm_engine", "http://127.0.0.1:9")
assert os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://127.0.0.1:9"
os.environ["OTEL_SERVICE_NAME"] = os.environ["SIDELIGHT_CAPTURE_CONTENT"] = "full"
from sidelight.instrumentation.vllm import runtime
from sidelight.instrumentation.vllm.export import http_client
made = http_client.OtlpHttpClient
def shown(signal, environ):
    client = made(signal, environ)
    print(signal, client.origin + client.path)
    return client
http_client.OtlpHttpClient = shown
print(runtime.get().settings.capture_content)
"""


@pytest.mark.real("vllm")
@pytest.mark.timeout(300)
def test_spans_go_where_the_user_says() -> None:
    """With `--otlp-traces-endpoint`, by vLLM's own code for it."""
    done = subprocess.run(
        [environments.python_of("vllm"), "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            **vllm_server.NOTHING_COMPILED,
            "PYTHONPATH": f"{paths.ROOT / 'instrumentation'}{os.pathsep}{vllm_server.QUICK_START}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:8",
        },
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "traces http://127.0.0.1:8/v1/traces",
        "metrics http://127.0.0.1:8/v1/metrics",
        "off",
    ]


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        (None, {}, False),
        ("http://localhost:4317", {}, True),
        ("127.0.0.1:4317", {}, True),
        ("grpc://collector:4317", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ("http://jaeger:4317", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ("http://[", {}, False),
    ],
)
def test_spans_of_vllm_itself(theirs: str | None, ours: dict[str, str], same: bool) -> None:
    """They count the tokens if they come to the same place as ours, whatever the port."""
    config = SimpleNamespace(observability_config=SimpleNamespace(otlp_traces_endpoint=theirs))
    assert environment.is_traced_by_vllm(config, ours) is same
    assert environment.is_traced_by_vllm(None, ours) is False
