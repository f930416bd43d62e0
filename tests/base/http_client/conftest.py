"""The client under both event loops: uvloop, which the service runs on, and asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each asynchronous test of this folder runs once with each."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
