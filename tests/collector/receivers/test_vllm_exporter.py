"""What vLLM's own exporter sends, in the protocol that is not its default, with a token.

A whole server that sends in its default is in `instrumentation/vllm/test_real_answers.py`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sidelight import conventions as c
from sidelight.otlp.span import attributes
from support.collector import Collector, settings
from support.environments import python_of
from support.otlp_store import OtlpStore
from support.vllm_server import NOTHING_COMPILED, QUICK_START
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]
TOKEN = "token-of-vllm-0123456789"
# What a server of vLLM's does with `--otlp-traces-endpoint`, and the span that its engine makes.
TRACES = """
import sys
from vllm.tracing import init_tracer
init_tracer("vllm.llm_engine", sys.argv[1]).start_span("llm_request").end()
"""


def test_its_other_protocol_is_understood(tmp_path: Path) -> None:
    """Over HTTP, sent by vLLM's own tracing, which is all of the server that differs."""
    with OtlpStore() as store:
        config = settings(
            tmp_path,
            auth={"tokens": [{"env": "TOKEN", "tenant": "models"}]},
            destinations=[store.destination()],
        )
        with Collector(config, tmp_path / "collector", env={"TOKEN": TOKEN}) as collector:
            subprocess.run(
                [python_of("vllm"), "-c", TRACES, f"{collector.url}/v1/traces"],
                env={
                    **os.environ,
                    **NOTHING_COMPILED,
                    "PYTHONPATH": str(QUICK_START),
                    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
                    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                },
                check=True,
            )
            eventually(lambda: store.spans("llm_request"))
        ((resource, _, _),) = store.with_origin()
    assert attributes(resource.attributes)[c.TENANT] == "models"
