"""Binds listeners: explains ports that are not available, and limits connections."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

_logger = logging.getLogger(__name__)


class ServiceError(Exception):
    """The service cannot start. The message says what to change."""


async def bind(
    start: Callable[[str, int], Awaitable[int]], host: str, port: int, section: str
) -> int:
    """The port on which `start` listens. Raises `ServiceError` if it cannot."""
    try:
        return await start(host, port)
    except OSError as error:
        raise refused(error, host, port, section) from error


def refused(error: OSError, host: str, port: int, section: str) -> ServiceError:
    """Why the address of a section is not available, and which key to change."""
    if isinstance(error, socket.gaierror):
        return ServiceError(
            f"cannot listen on {host}:{port} (unknown host): correct {section}.host"
        )
    # asyncio's own text repeats the address.
    reason = os.strerror(error.errno) if error.errno else str(error)
    advice = (
        f"set {section}.host to an address of this machine"
        if error.errno == errno.EADDRNOTAVAIL
        else f"stop the process that uses it, or set {section}.port or {section}.host"
    )
    return ServiceError(f"cannot listen on {host}:{port} ({reason}): {advice}")


def connections(configured: int, section: str) -> int:
    """The connections that a listener may have: `configured`, or what the file limit allows.

    A listener gets at most a quarter of the files that the process may open. The log and the
    other listeners need the rest.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_unlimited = soft == resource.RLIM_INFINITY
    allowed = configured if is_unlimited else min(configured, max(1, soft // 4))
    if allowed < configured:
        _logger.warning(
            "%s accepts at most %d connections instead of %d: the process may open only %d "
            "files; raise its limit (ulimit -n)",
            section,
            allowed,
            configured,
            soft,
        )
    return allowed


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
