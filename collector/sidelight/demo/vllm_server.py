"""Runs a real vLLM server on the CPU, with the tiny model and Sidelight's instrumentation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidelight.demo.processes import Process, Processes

MODEL_NAME = "sidelight/tiny-qwen3"
SERVICE_NAME = "vllm"
_SCRIPT = Path(__file__).with_name("_run_vllm.py")
# It takes half a minute on two idle cores, and many times that on busy ones.
READY_SECONDS = 600.0
# Few KV-cache blocks (of 128 tokens on CPUs), and a batch limit above what they can hold: a burst
# queues, and some requests are preempted.
KV_BLOCKS = 24
MAX_BATCH_REQUESTS = 12
# The engine runs the model itself, as on one GPU: a process for it, as vLLM has on CPUs, takes 6 s
# of CPU to start, and the two wait for each other in loops. The platform replaces the short name
# `uni`.
_IN_ENGINE = ("--distributed-executor-backend", "vllm.v1.executor.uniproc_executor.UniProcExecutor")
# As that process has: in so small a model more threads only wait for each other.
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
# Eager execution leaves the sampler's functions, and compiling takes longer than running them.
_NOTHING_COMPILED = {"TORCHDYNAMO_DISABLE": "1"}


@dataclass(frozen=True, slots=True)
class VllmServer:
    """A vLLM server that is starting or running."""

    process: Process
    url: str
    model_name: str

    @property
    def metrics_url(self) -> str:
        return f"{self.url}/metrics"

    def wait_until_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until it serves. Raises `ProcessError` with the end of its log."""
        self.process.wait_for_http(f"{self.url}/health", timeout_seconds)


def start(
    processes: Processes,
    *,
    python: Path,
    model: Path,
    port: int,
    instrumentation: Path | None = None,
    otlp_endpoint: str | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    separate_worker: bool = False,
    name: str = "vllm",
) -> VllmServer:
    """Start vLLM on a loopback port; `wait_until_ready` waits until it serves.

    `instrumentation` is a folder written by `injected.tree.write`, `otlp_endpoint` the base URL of
    an OTLP/HTTP receiver. `environment` and `arguments` add variables and options of vLLM. With
    `separate_worker` the engine has a process for the model.
    """
    variables = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "OTEL_SERVICE_NAME": SERVICE_NAME,
        **_NOTHING_COMPILED,
    }
    # The user's own Python settings are for another environment.
    for foreign in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_PLUGINS"):
        variables.pop(foreign, None)
    if instrumentation:
        variables["PYTHONPATH"] = str(instrumentation)
    if otlp_endpoint:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp_endpoint
        variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    if not separate_worker:
        variables.update(_ONE_THREAD)
    variables.update(environment or {})
    # As vLLM starts by itself: the `vllm` script of the environment, which need not be on the PATH.
    program = python.with_name("vllm") if separate_worker else _SCRIPT
    command: list[str | Path] = [python, program, "serve", model]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--served-model-name", MODEL_NAME]
    # Without compilation, which would take longer than the demo.
    command += ["--enforce-eager", "--max-model-len", "2048"]
    # Cached tokens in the usage, to compare them with those of the spans.
    command += ["--enable-prompt-tokens-details"]
    command += ["--num-gpu-blocks-override", str(KV_BLOCKS)]
    command += ["--max-num-seqs", str(MAX_BATCH_REQUESTS)]
    if not separate_worker:
        command += _IN_ENGINE
    command += arguments
    process = processes.start(name, command, environment=variables)
    return VllmServer(process, f"http://127.0.0.1:{port}", MODEL_NAME)
