"""Ports that cannot be had, said so that a user can act on it; and how many may connect."""

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
    """The service cannot start; the message says what to change."""


async def bind(
    start: Callable[[str, int], Awaitable[int]], host: str, port: int, section: str
) -> int:
    """The port on which `start` listens. Raises `ServiceError` if it cannot."""
    try:
        return await start(host, port)
    except OSError as error:
        raise refused(error, host, port, section) from error


def refused(error: OSError, host: str, port: int, section: str) -> ServiceError:
    """Why the address of a section cannot be had, and which key to change."""
    if isinstance(error, socket.gaierror):
        return ServiceError(
            f"cannot listen on {host}:{port}, the host cannot be resolved: set {section}.host"
        )
    # asyncio's own text repeats the address.
    reason = os.strerror(error.errno) if error.errno else str(error)
    advice = (
        f"set {section}.host to an address of this machine"
        if error.errno == errno.EADDRNOTAVAIL
        else f"stop what holds it, or set {section}.port or {section}.host"
    )
    return ServiceError(f"cannot listen on {host}:{port} ({reason}): {advice}")


def connections(wanted: int, section: str) -> int:
    """As many as wanted, but no listener may take more than a fourth of the files that the
    process may open: the log and the other listeners need theirs.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if soft == resource.RLIM_INFINITY else min(wanted, max(1, soft // 4))
    if allowed < wanted:
        _logger.warning(
            "%s takes %d connections, not %d, because the process may open only %d files: "
            "raise its limit (ulimit -n)",
            section,
            allowed,
            wanted,
            soft,
        )
    return allowed


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
