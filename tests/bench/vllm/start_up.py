"""What loading and starting the instrumentation adds to the start of an API server.

Each round is a process of its own, which has imported what vLLM has imported by then.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import Figure, figure
from sidelight.instrumentation.injected import tree
from sidelight.instrumentation.vllm.observer.rendezvous import DIRECTORY_VARIABLE

ROUNDS = 15
# `cpu` is that of the whole process, until it is connected to the observer process. `wall` is how
# long vLLM's start waits: the observer process is started on a thread.
_PROGRAM = """
import asyncio, concurrent.futures, contextlib, dataclasses, gzip, http.client, importlib.metadata
import inspect, json, logging, multiprocessing, pathlib, platform, secrets, socket, ssl, subprocess
import sys, tempfile, time, typing, urllib.parse, urllib.request, uuid

multiprocessing.current_process().name = "ApiServer_0"
cpu, wall = time.process_time(), time.perf_counter()
if sys.argv[1] == "injected":
    from sidelight_injected import install
else:
    from sidelight.instrumentation.vllm.plugin import install
install()
from sidelight.instrumentation.vllm import async_llm, middleware, routes, runtime
shared = runtime.get()
wall = time.perf_counter() - wall
while shared.hand_off._socket is None:
    time.sleep(0.005)
print(time.process_time() - cpu, wall)
"""


def figures() -> list[Figure]:
    """Milliseconds of an installed Sidelight and of an injected one, which has no byte-code."""
    with tempfile.TemporaryDirectory() as folder:
        injected = tree.write(Path(folder) / "injected")
        return [
            *_figures("installed", {}),
            *_figures("injected", {"PYTHONPATH": str(injected), "PYTHONDONTWRITEBYTECODE": "1"}),
        ]


def _figures(name: str, variables: dict[str, str]) -> list[Figure]:
    rounds = [_start(name, variables) for _ in range(ROUNDS)]
    return [
        figure(f"start_up.{name}.cpu", "ms", [cpu for cpu, _ in rounds]),
        figure(f"start_up.{name}.wall", "ms", [wall for _, wall in rounds]),
    ]


def _start(name: str, variables: dict[str, str]) -> tuple[float, float]:
    environment = {
        **os.environ,
        DIRECTORY_VARIABLE: f"/tmp/sidelight-bench-{secrets.token_hex(8)}",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        **variables,
    }
    said = subprocess.check_output(
        [sys.executable, "-c", _PROGRAM, name],
        env=environment,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    cpu, wall = (1e3 * float(seconds) for seconds in said.split())
    return cpu, wall


if __name__ == "__main__":
    for each in figures():
        print(f"{each.name:24} {each.value:8.2f} {each.unit}")
