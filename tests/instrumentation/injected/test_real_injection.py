"""The injected folder with a fault in a real vLLM that traces by itself.

A whole folder in such a vLLM is in `vllm/test_real_answers.py`. vLLM is without wrapt here too.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from sidelight.instrumentation.injected import tree
from sidelight.otlp.span import attributes
from support.collector import Collector, settings
from support.environments import python_of
from support.otlp_receiver import OtlpReceiver
from support.otlp_store import OtlpStore
from support.vllm_server import NOTHING_COMPILED, QUICK_START, running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.slow, pytest.mark.timeout(600)]

REQUESTS = 2
TOKEN = "token-of-vllm-0123456789"
# The API server loads plugins before vLLM has set up its logging, which names processes.
NOT_LOADED = re.compile(
    r"^(?:\((\S+) pid=\d+\).*)?Sidelight: not loaded \((.*)\)\. vLLM is not", re.MULTILINE
)


def ask(server: VllmServer, trace_ids: list[bytes]) -> list[Any]:
    """A chat in each of these traces; the answers."""
    return [
        httpx.post(
            f"{server.url}/v1/chat/completions",
            json={
                "model": server.model_name,
                "messages": [{"role": "user", "content": "some words"}],
                "max_tokens": 5,
            },
            headers={"traceparent": f"00-{trace_id.hex()}-{os.urandom(8).hex()}-01"},
            timeout=120,
        )
        .raise_for_status()
        .json()
        for trace_id in trace_ids
    ]


def test_vllm_beside_a_fault(tmp_path: Path) -> None:
    """Its answers and its own spans are as ever, and each process says once why ours are not."""
    folder = tree.write(tmp_path / "path")
    plugin = folder / "sidelight" / "instrumentation" / "vllm" / "plugin.py"
    plugin.write_text(plugin.read_text() + "x = (\n")
    tree.write_record(folder)
    trace_ids = [os.urandom(16) for _ in range(REQUESTS)]
    with OtlpReceiver() as receiver, OtlpStore() as store:
        config = settings(
            tmp_path,
            auth={"tokens": [{"env": "TOKEN", "tenant": "models"}]},
            destinations=[store.destination()],
        )
        with (
            Collector(config, tmp_path / "collector", env={"TOKEN": TOKEN}) as collector,
            running_vllm(
                tmp_path,
                otlp_endpoint=receiver.url,
                instrumented=False,
                environment={
                    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
                    "OTEL_BSP_SCHEDULE_DELAY": "200",
                },
                paths=[folder],
                without=["wrapt"],
                arguments=["--otlp-traces-endpoint", f"http://127.0.0.1:{collector.grpc_port}"],
            ) as server,
        ):
            answers = ask(server, trace_ids)
            own = {
                trace_id: eventually(
                    lambda trace_id=trace_id: [
                        span for span in store.spans("llm_request") if span.trace_id == trace_id
                    ]
                )
                for trace_id in trace_ids
            }
            log = server.process.log_path.read_text(errors="replace")
    for trace_id, answer in zip(trace_ids, answers, strict=True):
        (span,) = own[trace_id]
        served = attributes(span.attributes)[names.SERVED_OUTPUT_TOKENS]
        assert served == answer["usage"]["completion_tokens"]
    resources = [resource for resource, _, _ in store.with_origin()]
    assert {attributes(each.attributes)[names.TENANT] for each in resources} == {"models"}
    said = NOT_LOADED.findall(log)
    processes = [process for process, _ in said]
    # Whether its worker is a process of its own is for vLLM to choose.
    assert {"", "EngineCore"} <= set(processes)
    assert len(processes) == len(set(processes))
    assert all("SyntaxError" in reason and "plugin.py" in reason for _, reason in said)
    assert receiver.requests == []
    assert "Failed to load plugin" not in log


def test_vllm_loads_plugins_as_our_stand_in_does(tmp_path: Path) -> None:
    """vLLM's own code finds one entry point. Without the loader it logs so, and goes on."""
    broken, whole = tree.write(tmp_path / "broken"), tree.write(tmp_path / "whole")
    (broken / f"{tree.MODULE}.py").unlink()
    program = (
        "import sys\n"
        "from vllm.plugins import load_plugins_by_group\n"
        "for folder in sys.argv[1:]:\n"
        "    sys.path.insert(0, folder)\n"
        "    print({name: f'{function.__module__}:{function.__name__}' for name, function in "
        "load_plugins_by_group('vllm.general_plugins').items() if name == 'sidelight'})\n"
        "    sys.path.remove(folder)"
    )
    said = subprocess.run(
        [python_of("vllm"), "-c", program, broken, whole],
        env={**NOTHING_COMPILED, "PYTHONPATH": str(QUICK_START)},
        check=True,
        capture_output=True,
        text=True,
    )
    found = [line for line in said.stdout.splitlines() if line.startswith("{")]
    assert found == ["{}", str({"sidelight": "sidelight_injected:install"})]
