"""Auto-detects a Phoenix on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.phoenix.check import phoenix_version
from sidelight.collector.destinations.phoenix.config import PhoenixDestination

DEFAULT_URL = PhoenixDestination(type="phoenix").url
# The start of the service waits for it.
_TIMEOUT_SECONDS = 1.0


def detect(
    has_backlog: Callable[[DestinationConfig], bool], url: str = DEFAULT_URL
) -> PhoenixDestination | None:
    """The Phoenix that answers at `url`, or that has undelivered data in the log.

    Blocks; do not call it on a thread with a running event loop.
    """
    local = PhoenixDestination(type="phoenix", url=url)
    # A known Phoenix counts even if it is down: retention would delete its data otherwise.
    if has_backlog(local) or asyncio.run(phoenix_version(local, _TIMEOUT_SECONDS)) is not None:
        return local
    return None
