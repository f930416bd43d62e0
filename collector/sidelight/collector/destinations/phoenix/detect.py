"""A Phoenix on this machine is used without configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.phoenix.check import phoenix_version
from sidelight.collector.destinations.phoenix.config import PhoenixDestination

DEFAULT_URL = PhoenixDestination(type="phoenix").url
_TIMEOUT_SECONDS = 1.0


def detect(
    has_backlog: Callable[[DestinationConfig], bool], url: str = DEFAULT_URL
) -> PhoenixDestination | None:
    """The Phoenix that answers at `url`, or that has data waiting in the log.

    Blocks; not for a thread with a running event loop.
    One that is down just now would otherwise lose what waits for it to retention.
    """
    local = PhoenixDestination(type="phoenix", url=url)
    if has_backlog(local) or asyncio.run(phoenix_version(local.url, _TIMEOUT_SECONDS)) is not None:
        return local
    return None
