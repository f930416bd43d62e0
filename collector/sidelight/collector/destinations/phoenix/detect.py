"""A Phoenix on this machine is used without configuration."""

from __future__ import annotations

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

    One that is down just now would otherwise lose what waits for it to retention.
    """
    local = PhoenixDestination(type="phoenix", url=url)
    is_used = has_backlog(local) or phoenix_version(local.url, _TIMEOUT_SECONDS) is not None
    return local if is_used else None
