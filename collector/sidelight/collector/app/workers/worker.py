"""The process of a worker: `python -m …workers worker NUMBER`, with the link as standard input."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
from dataclasses import asdict
from typing import Any

import uvloop

from sidelight.base import logging_setup as logs
from sidelight.collector.app.lifecycle import Plan, Service
from sidelight.collector.app.run import exit_code, raise_file_limit
from sidelight.collector.app.workers import plan
from sidelight.collector.app.workers.link import Link
from sidelight.collector.app.workers.share import share_of

_logger = logging.getLogger(__name__)

# From <sys/prctl.h>: the signal that the kernel sends when the parent process exits.
_PR_SET_PDEATHSIG = 1
_START_SECONDS = 60.0


class Worker:
    """One worker: runs the service and answers its supervisor."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._service: Service | None = None
        self._ports: dict[str, int] = {}

    async def run(self, sock: socket.socket) -> None:
        """Serve until a signal, or until the supervisor exits."""
        link = await Link.over(sock, self._answer)
        following = asyncio.create_task(self._follow(link))
        # Asked for instead of passed as arguments, which other users of the machine can see.
        order = await link.ask({"what": "order"}, _START_SECONDS)
        self._ports = order["ports"]
        config, destinations = self._mine(order["plan"])
        logs.configure(config.logging.level, config.logging.format, self._number)
        self._service = Service(
            config,
            destinations,
            worker=self._number,
            hash_key=bytes.fromhex(order["hash_key"]),
        )
        serving = asyncio.create_task(self._report_serving(link, self._service))
        await self._service.run()
        following.cancel()
        serving.cancel()

    async def _report_serving(self, link: Link, service: Service) -> None:
        await service.is_serving.wait()
        await link.ask({"what": "serving"}, _START_SECONDS)

    def _mine(self, common: dict[str, Any]) -> Plan:
        return share_of(*plan.from_json(common), self._number, self._ports)

    async def _follow(self, link: Link) -> None:
        await link.run()
        # Acknowledged data is on the disk, and the next supervisor needs the ports.
        _logger.error("the supervisor has exited: exiting now; the log keeps undelivered data")
        os._exit(1)

    async def _answer(self, question: dict[str, Any]) -> Any:
        service = self._service
        if service is None or not service.is_serving.is_set():
            return None
        match question["what"]:
            case "snapshot":
                return service.snapshot().to_json()
            case "health":
                return await service.health.readiness()
            case "reload":
                change = await service.reload(lambda: self._mine(question["plan"]))
                return None if change is None else asdict(change)
        return None


def main(number: int) -> int:
    """Run the worker; returns the exit code."""
    # For an event loop that hangs and cannot notice that the supervisor has exited.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_file_limit()
    # Nothing else may read from the link, so standard input becomes /dev/null.
    with socket.socket(fileno=os.dup(0)) as sock:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return exit_code(lambda: uvloop.run(Worker(number).run(sock)))
