"""What the user set counts, whatever vLLM writes into its environment."""

from __future__ import annotations

import os
import subprocess

import pytest

from support import environments, paths

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
from sidelight.instrumentation.vllm.export import exporter
made = exporter.OtlpHttpClient
def shown(signal, environ):
    client = made(signal, environ)
    print(signal, client.origin + client.path)
    return client
exporter.OtlpHttpClient = shown
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
            "PYTHONPATH": str(paths.ROOT / "instrumentation"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:8",
        },
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "traces http://127.0.0.1:8/v1/traces",
        "metrics http://127.0.0.1:8/v1/metrics",
        "off",
    ]
