"""A server that loads Sidelight as vLLM does, answers one request, and waits for a line on stdin.

It runs in environments where there is neither vLLM nor any other package: modules that it makes
itself have what Sidelight hooks into. The endpoint is the first argument. At the end it prints the
names of the packages that were imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib.metadata import entry_points
from types import ModuleType, SimpleNamespace
from typing import Any

ANSWER = {
    "id": "chatcmpl-1",
    "model": "tiny",
    "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5},
}


class FastAPI:
    """The part of FastAPI's application that is hooked."""

    def __init__(self, serve: Any) -> None:
        self.routes = [SimpleNamespace(path="/v1/chat/completions", endpoint=serve)]
        self._serve = serve

    def build_middleware_stack(self) -> Any:
        """The application that a server calls."""
        return self._serve


class StatLoggerBase:
    """The base class of vLLM's stat loggers."""


def make_module(name: str, **content: Any) -> None:
    """Put a module of this name and content in place, and packages above it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), ModuleType(".".join(parts[:end])))
    vars(sys.modules[name]).update(content)


async def serve(_: Any, receive: Any, send: Any) -> None:
    """Answer a request, as `vllm.entrypoints` would."""
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(ANSWER).encode()})


serve.__module__ = "vllm.entrypoints"


def finished() -> Any:
    """vLLM's statistics of the request, as 0.32 has them."""
    return SimpleNamespace(
        request_id="chatcmpl-1", finish_reason=0, e2e_latency=0.004, num_prompt_tokens=11,
        num_generation_tokens=5, num_preemptions=0, num_cached_tokens=0, max_tokens_param=5,
        queued_time=0.0005, prefill_time=0.001, inference_time=0.003, decode_time=0.002,
    )  # fmt: skip


def record(stat_logger: Any, *sequences: Any) -> None:
    """One engine step."""
    scheduler = SimpleNamespace(
        num_running_reqs=1, num_waiting_reqs=0, kv_cache_usage=0.5,
        prefix_cache_stats=SimpleNamespace(queries=1, hits=0),
    )  # fmt: skip
    iteration = SimpleNamespace(
        iteration_timestamp=time.time(), num_generation_tokens=5, num_prompt_tokens=11,
        num_preempted_reqs=0, finished_requests=list(sequences),
    )  # fmt: skip
    stat_logger.record(scheduler, iteration)


async def main() -> None:
    """Load both plugins, serve, and wait."""
    for plugin in entry_points(group="vllm.general_plugins"):
        plugin.load()()
    make_module("fastapi.applications", FastAPI=FastAPI)
    make_module("vllm.v1.metrics.loggers", StatLoggerBase=StatLoggerBase)
    # Again, as vLLM may: the first time there was no FastAPI yet, and it was never imported.
    for plugin in entry_points(group="vllm.general_plugins"):
        plugin.load()()
    (plugin,) = entry_points(group="vllm.stat_logger_plugins")
    stat_logger = plugin.load()(None, 0)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "?"}]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            record(stat_logger, finished())

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    record(stat_logger)
    await FastAPI(serve).build_middleware_stack()(scope, receive, send)


os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sys.argv[1]
os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "500"
asyncio.run(main())
sys.stdin.readline()
imported = {name.partition(".")[0] for name in sys.modules}
print(*sorted(imported - sys.stdlib_module_names - {"__main__"}))
