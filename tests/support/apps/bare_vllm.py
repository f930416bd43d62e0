"""A server that loads Sidelight as vLLM does, and answers requests until stdin has a line.

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


class OutputProcessor:
    """The part of vLLM's output processor that is hooked."""

    def __init__(self) -> None:
        self.request_states: dict[str, Any] = {}

    def add_request(self, request: Any) -> None:
        """A sequence begins."""
        self.request_states[request.request_id] = SimpleNamespace(
            request_id=request.request_id,
            stats=None,
            prompt_len=11,
            lora_name=None,
        )

    def process_outputs(self, _: Any, at: float, stats: Any) -> None:
        """The only sequence has its tokens and ends."""
        (state,) = self.request_states.values()
        self.request_states.clear()
        state.stats = SimpleNamespace(
            queued_ts=at - 0.003,
            scheduled_ts=at - 0.002,
            first_token_ts=at - 0.001,
            last_token_ts=at,
            num_generation_tokens=5,
        )
        self._update_stats_from_finished(state, 0, stats)

    def _update_stats_from_finished(self, state: Any, reason: int, stats: Any) -> None:
        stats.finished_requests.append((state, reason))

    def abort_requests(self, _: Any) -> list[str]:
        """Nobody leaves."""
        return []

    def propagate_error(self, _: Any) -> None:
        """Nothing fails."""


class AsyncLLM:
    """The part of vLLM's engine client that is hooked."""

    def __init__(self) -> None:
        self.output_processor = OutputProcessor()
        self.engine_core = SimpleNamespace(engine_ranks_managed=[0])
        self.logger_manager = SimpleNamespace(record=lambda *_, **__: None)
        self.vllm_config = SimpleNamespace(
            model_config=SimpleNamespace(served_model_name="tiny"), observability_config=None
        )

    def generate(self) -> None:
        """One request in one step."""
        stats = SimpleNamespace(
            num_generation_tokens=5, num_prompt_tokens=11, num_preempted_reqs=0,
            finished_requests=[],
        )  # fmt: skip
        scheduler = SimpleNamespace(
            num_running_reqs=1, num_waiting_reqs=0, kv_cache_usage=0.5,
            prefix_cache_stats=SimpleNamespace(queries=1, hits=0),
        )  # fmt: skip
        request = SimpleNamespace(request_id="chatcmpl-1", arrival_time=time.time())
        self.output_processor.add_request(request)
        self.output_processor.process_outputs([], time.monotonic(), stats)
        self.logger_manager.record(scheduler, stats, engine_idx=0)


def make_module(name: str, **content: Any) -> None:
    """Put a module of this name and content in place, and packages above it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), ModuleType(".".join(parts[:end])))
    vars(sys.modules[name]).update(content)


def load_plugins() -> None:
    """Load what vLLM would load."""
    for plugin in entry_points(group="vllm.general_plugins"):
        plugin.load()()


async def main() -> None:
    """Load the plugin as vLLM does, and serve requests."""
    load_plugins()
    make_module("fastapi.applications", FastAPI=FastAPI)
    make_module("vllm.v1.engine.async_llm", AsyncLLM=AsyncLLM)
    # Again, as vLLM may: these modules are made here, and never imported.
    load_plugins()
    client = AsyncLLM()

    async def serve(_: Any, receive: Any, send: Any) -> None:
        await receive()
        client.generate()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(ANSWER).encode()})

    serve.__module__ = "vllm.entrypoints"
    body = {"model": "tiny", "messages": [{"role": "user", "content": "?"}]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(_: dict[str, Any]) -> None: ...

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    application = FastAPI(serve).build_middleware_stack()
    line = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    while not line.done():
        await application(dict(scope), receive, send)
        await asyncio.sleep(0.2)


os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sys.argv[1]
os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "500"
asyncio.run(main())
imported = {name.partition(".")[0] for name in sys.modules}
print(*sorted(imported - sys.stdlib_module_names - {"__main__", "__mp_main__"}))
