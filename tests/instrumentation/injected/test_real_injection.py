"""The injected folder in a real vLLM that traces by itself too, whole and with a fault.

vLLM is without wrapt here, as it is by itself. That spans arrive without OpenTelemetry too is in
`vllm/test_real_vllm.py`, and that they arrive with all that may be installed in the other tests of
`vllm/`; all inject the same folder.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from sidelight.instrumentation.injected import tree
from support.environments import python_of
from support.otlp_grpc_server import OtlpGrpcServer
from support.otlp_receiver import OtlpReceiver
from support.vllm_server import running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.slow, pytest.mark.timeout(600)]

# The second answer is the one that failed once libraries on PYTHONPATH had replaced vLLM's own.
REQUESTS = 3
# The API server loads plugins before vLLM has set up its logging, which names processes.
NOT_LOADED = re.compile(
    r"^(?:\((\S+) pid=\d+\).*)?Sidelight: not loaded \((.*)\)\. vLLM is not", re.MULTILINE
)


def ask(server: VllmServer) -> None:
    for _ in range(REQUESTS):
        response = httpx.post(
            f"{server.url}/v1/completions",
            json={"model": server.model_name, "prompt": "some words", "max_tokens": 5},
            timeout=120,
        )
        assert response.status_code == 200, response.text


def own_spans(collector: OtlpGrpcServer) -> Counter[str]:
    """The spans that vLLM has sent by itself, counted by name."""
    requests = [ExportTraceServiceRequest.FromString(call.body) for call in collector.calls]
    return Counter(
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )


@pytest.mark.parametrize("has_fault", [False, True])
def test_vllm_with_its_own_traces(tmp_path: Path, has_fault: bool) -> None:
    """Its answers and spans are as ever. Ours arrive too, or each process says once why not."""
    folder = tree.write(tmp_path / "path")
    if has_fault:
        plugin = folder / "sidelight" / "instrumentation" / "vllm" / "plugin.py"
        plugin.write_text(plugin.read_text() + "x = (\n")
        tree.write_record(folder)
    with (
        OtlpReceiver() as receiver,
        OtlpGrpcServer() as collector,
        running_vllm(
            tmp_path,
            otlp_endpoint=receiver.url,
            instrumented=False,
            paths=[folder],
            without=["wrapt"],
            arguments=["--otlp-traces-endpoint", collector.url],
        ) as server,
    ):
        ask(server)
        eventually(lambda: own_spans(collector)["llm_request"] >= REQUESTS)
        if not has_fault:
            receiver.wait_for(lambda: len(receiver.spans(lambda span: span.kind == 2)) == REQUESTS)
            assert {span.scope for span in receiver.spans()} == {names.SCOPE_VLLM}
        log = server.process.log_path.read_text(errors="replace")
    said = NOT_LOADED.findall(log)
    if has_fault:
        processes = [process for process, _ in said]
        # Whether its worker is a process of its own is for vLLM to choose.
        assert {"", "EngineCore"} <= set(processes)
        assert len(processes) == len(set(processes))
        assert all("SyntaxError" in reason and "plugin.py" in reason for _, reason in said)
        assert receiver.requests == []
    else:
        assert said == []
    assert "Failed to load plugin" not in log


@pytest.mark.parametrize("has_loader", [True, False])
def test_vllm_loads_plugins_as_our_stand_in_does(tmp_path: Path, has_loader: bool) -> None:
    """vLLM's own code finds one entry point. Without the loader it logs so, and goes on."""
    folder = tree.write(tmp_path / "path")
    if not has_loader:
        (folder / f"{tree.MODULE}.py").unlink()
    program = (
        "from vllm.plugins import load_plugins_by_group\n"
        "print({name: f'{function.__module__}:{function.__name__}' for name, function in "
        "load_plugins_by_group('vllm.general_plugins').items() if name == 'sidelight'})"
    )
    said = subprocess.run(
        [python_of("vllm"), "-c", program],
        env={"PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {"sidelight": "sidelight_injected:install"} if has_loader else {}
    assert said.stdout.splitlines()[-1] == str(loaded)
