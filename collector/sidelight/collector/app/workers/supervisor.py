"""Starts the workers, restarts those that exit, passes on signals and reloads."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sidelight import conventions as c
from sidelight.base import logging_setup as logs
from sidelight.base.garbage import keep_what_exists
from sidelight.base.http_server import HttpServer
from sidelight.base.listening import ServiceError, bind
from sidelight.collector.app import probes
from sidelight.collector.app.reload import MAX_RELOADS, Change, Reloads, report
from sidelight.collector.app.workers.front import Front
from sidelight.collector.app.workers.link import LinkError
from sidelight.collector.app.workers.ports import Ports
from sidelight.collector.app.workers.process import WorkerProcess
from sidelight.collector.metrics.registry import Registry

_logger = logging.getLogger(__name__)

# The pause before a restart doubles from one to the other.
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
# A worker that ran for this long did not exit because of its start: the pause begins again.
_STABLE_SECONDS = 60.0
_RELOAD_SECONDS = 60.0
# After shutdown_seconds. Workers exit by themselves three seconds after it.
_KILL_SECONDS = 6.0
_KEY_BYTES = 32


class _PlanError(Exception):
    """Faults of the configuration, one a line."""


def supervise(path: Path | None) -> int:
    """Serve the plan in standard input until a signal; returns the exit code of `sidelight up`."""
    # A reload before the workers run would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    plan = json.load(sys.stdin)
    _log_as(plan)
    return asyncio.run(_supervise(path, plan))


async def _supervise(path: Path | None, plan: dict[str, Any]) -> int:
    try:
        return await Supervisor(path, plan).run()
    except _PlanError as error:
        _logger.error("%s", error)
        return 2
    except ServiceError as error:
        _logger.error("%s", error)
        return 1


class Supervisor:
    """The parent process of all workers. Raises `ServiceError` if a port is not available."""

    def __init__(self, path: Path | None, plan: dict[str, Any]) -> None:
        self._path = path
        self._plan = plan
        # One for all workers: equal texts must have equal hashes, whichever worker gets them.
        self._hash_key = os.urandom(_KEY_BYTES).hex()
        # Before any worker starts: a port in use is one error, not one for each worker.
        self._ports = Ports(plan["listeners"])
        self._registry = Registry()
        self._reloads = Reloads(self._registry, _PlanError)
        self._restarts = self._registry.counter(c.COLLECTOR_WORKER_RESTARTS)
        self._workers: dict[int, WorkerProcess] = {}
        self._registry.gauge(c.COLLECTOR_WORKERS).set_function(
            lambda: sum(worker.is_serving.is_set() for worker in self._workers.values())
        )
        self._front = Front(self._workers, self._registry)
        self._serve = self._probe_server()
        self._stop = asyncio.Event()
        self._code = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until a signal, or until a worker fails in its first start; the exit code."""
        config = self._plan["config"]
        keeping = [asyncio.create_task(self._keep(number)) for number in range(config["workers"])]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        # Before the workers start, which inherit the mask. `sidelight up` blocked them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        try:
            if await self._all_serve(keeping):
                addresses = await self._listen()
                loop.add_signal_handler(signal.SIGHUP, self._hang_up)
                keep_what_exists()
                _logger.info("listening: %s", ", ".join(addresses))
                names = [destination["name"] for destination in self._plan["destinations"]]
                _logger.info(
                    "log in %s, %d workers, destinations: %s",
                    config["log"]["directory"],
                    len(keeping),
                    ", ".join(names) or "none",
                )
                await self._stop.wait()
        finally:
            await self._end(keeping)
            await self._serve.stop(0.5)
            self._ports.close()
        return self._code

    # ── starting ─────────────────────────────────────────────────────────────────────────

    def _probe_server(self) -> HttpServer:
        serve = self._plan["config"]["serve"]
        if not (serve["tls"] or serve["tokens"]):
            return HttpServer(probes.handler(self._front, probes.nobody), probes.limits())
        # Imported only if TLS or tokens are configured: they need pydantic.
        from sidelight.base.configuration.section import ConfigError
        from sidelight.collector.app.access import AccessMetrics, ServeAccess
        from sidelight.collector.app.configuration.serve import Serve

        try:
            access = ServeAccess(Serve.model_validate(serve), AccessMetrics(self._registry))
            admit, tls = access.admit(), access.tls()
        except ConfigError as error:
            raise _PlanError(str(error)) from error
        handler = probes.handler(self._front, access.is_reader)
        return HttpServer(handler, probes.limits(), admit=admit, tls=tls)

    async def _all_serve(self, keeping: list[asyncio.Task[None]]) -> bool:
        """Wait until all workers serve; False if the service has to stop before."""
        while not self._stop.is_set():
            serving = sum(worker.is_serving.is_set() for worker in self._workers.values())
            if serving == len(keeping):
                return True
            await asyncio.sleep(0.02)
        return False

    async def _listen(self) -> list[str]:
        listeners, serve = self._plan["listeners"], self._plan["config"]["serve"]
        port = await bind(self._serve.start, serve["host"], serve["port"], "serve")
        return [
            *(
                f"{listeners[name]['title']} on {listeners[name]['host']}:{number}"
                for name, number in self._ports.numbers.items()
            ),
            f"/metrics on {serve['host']}:{port}",
        ]

    # ── running ──────────────────────────────────────────────────────────────────────────

    def _order(self) -> dict[str, Any]:
        return {
            "plan": self._plan,
            "ports": self._ports.numbers,
            "hash_key": self._hash_key,
        }

    async def _keep(self, number: int) -> None:
        """Keep one worker running: restart it whenever it exits."""
        pause = _FIRST_PAUSE_SECONDS
        has_served = False
        while not self._stop.is_set():
            worker = WorkerProcess(number, self._order)
            self._workers[number] = worker
            began = time.monotonic()
            try:
                await worker.start()
                if self._stop.is_set():
                    # The signal for all workers came while this one was starting.
                    worker.send_signal(signal.SIGTERM)
                code = await worker.ended()
            except OSError as error:
                _logger.error("cannot start worker %d: %s", number, error)
                code = 1
            self._front.retire(worker)
            del self._workers[number]
            if self._stop.is_set():
                self._code = self._code or max(code, 0)
                return
            has_served = has_served or worker.is_serving.is_set()
            if not has_served:
                # A fault of the configuration or the machine, which a restart would only repeat.
                # The worker itself has logged it, unless it was killed.
                if code < 0:
                    _logger.error("worker %d exited while starting (%s)", number, _how(code))
                self._code = code if code > 0 else 1
                self._stop.set()
                return
            if time.monotonic() - began > _STABLE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _logger.error("worker %d exited (%s), restarting in %.1f s", number, _how(code), pause)
            self._restarts.inc()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)

    def _hang_up(self) -> None:
        if self._stop.is_set() or len(self._tasks) >= MAX_RELOADS:
            return
        task = asyncio.create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        change = await self._reloads.attempt(self._change_all)
        if change is not None:
            report(change)

    async def _change_all(self) -> Change:
        """Reload all workers or, if the configuration has faults, none of them."""
        plan = await _changed_plan(self._path, self._plan)
        asked = list(self._workers.values())
        changes = [await self._change(worker, plan) for worker in asked]
        results = list(zip(asked, changes, strict=True))
        failed = [worker.number for worker, change in results if not change]
        if failed:
            # Back to the running plan, so that all workers process alike.
            for worker, change in results:
                if change:
                    await self._change(worker, self._plan)
            raise _PlanError(f"worker {failed[0]} cannot apply it; its own log lines say why")
        self._plan = plan
        for worker in list(self._workers.values()):
            if worker not in asked:
                # It started during the reload, perhaps with the old plan.
                await self._change(worker, plan)
        # All workers have the same destinations, so one report stands for all.
        destinations = next((change.destinations for change in changes if change), ())
        return Change(destinations, tuple(plan["waiting"]))

    async def _change(self, worker: WorkerProcess, plan: dict[str, Any]) -> Change | None:
        """What the worker changed: None if it failed, nothing if it has exited."""
        try:
            await worker.started()
            return await worker.reload(plan, _RELOAD_SECONDS)
        except LinkError as error:
            # It will restart with the plan of the others.
            _logger.warning("reload of worker %d failed: %s", worker.number, error)
            return Change((), ())

    # ── ending ───────────────────────────────────────────────────────────────────────────

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _logger.warning("second %s: exiting now; the log keeps undelivered data", number.name)
            for worker in self._workers.values():
                worker.send_signal(signal.SIGKILL)
            os._exit(1)
        seconds = self._plan["config"]["shutdown_seconds"]
        _logger.info("%s: draining, at most %.0f s", number.name, seconds)
        self._stop.set()

    async def _end(self, keeping: list[asyncio.Task[None]]) -> None:
        """Let every worker drain, and kill those that do not exit in time."""
        self._stop.set()
        self._front.is_draining = True
        for worker in self._workers.values():
            worker.send_signal(signal.SIGTERM)
        seconds = self._plan["config"]["shutdown_seconds"] + _KILL_SECONDS
        _, late = await asyncio.wait(keeping, timeout=seconds)
        if late:
            for worker in self._workers.values():
                _logger.error(
                    "worker %d hangs: killing it; its log keeps undelivered data", worker.number
                )
                worker.send_signal(signal.SIGKILL)
            await asyncio.wait(late)


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _log_as(plan: dict[str, Any]) -> None:
    options = plan["config"]["logging"]
    logs.configure(options["level"], options["format"])


async def _changed_plan(path: Path | None, running: dict[str, Any]) -> dict[str, Any]:
    """The plan of a reload, made in a process of its own. Raises `_PlanError`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sidelight.collector.app.workers",
        "plan",
        *([str(path)] if path else []),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )
    out, faults = await process.communicate(json.dumps(running).encode())
    if process.returncode != 0:
        raise _PlanError(faults.decode().strip() or f"cannot read {path}")
    plan: dict[str, Any] = json.loads(out)
    _log_as(plan)
    # Warnings of that process, for instance that no destination is configured.
    for line in faults.decode().splitlines():
        _logger.warning("%s", line)
    return plan
