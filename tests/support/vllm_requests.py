"""Requests to a real vLLM that can be found again, and what vLLM counts of all requests."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx

CLIENT_SPAN: Final = "b7ad6b7169203331"


def new_trace() -> tuple[str, dict[str, str]]:
    """A trace id and the header that carries it."""
    trace_id = os.urandom(16).hex()
    return trace_id, {"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-01"}


async def leave_after_chunks(
    url: str, path: str, chunks: int, authorisation: Mapping[str, str] | None = None, **body: Any
) -> str:
    """A client that reads some chunks of a stream and hangs up; its trace."""
    trace_id, headers = new_trace()
    async with httpx.AsyncClient(base_url=url, headers=authorisation, timeout=120) as client:
        with contextlib.suppress(httpx.HTTPError):
            async with client.stream(
                "POST", path, json=body | {"stream": True}, headers=headers
            ) as response:
                async for _ in response.aiter_bytes():
                    chunks -= 1
                    if chunks <= 0:
                        break
    return trace_id


def counters(metrics_url: str, names: Iterable[str]) -> dict[str, float]:
    """vLLM's own counters, each the sum over its engines."""
    text = httpx.get(metrics_url, timeout=60).text
    return {
        name: sum(
            float(value)
            for value in re.findall(rf"^vllm:{name}_total{{.*}} (\S+)$", text, re.MULTILINE)
        )
        for name in names
    }
