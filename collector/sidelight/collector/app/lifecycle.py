"""The lifecycle of a collector: start, serve, reload, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from sidelight.base import logging_setup as logs
from sidelight.base.background import supervise
from sidelight.base.configuration.section import ConfigError
from sidelight.base.garbage import keep_what_exists
from sidelight.base.listening import bind
from sidelight.base.signals import on_signal
from sidelight.collector.app.assembly import CurrentConfig, assemble
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import reloaded
from sidelight.collector.app.health import Health
from sidelight.collector.app.plugin_watch import PluginWatch
from sidelight.collector.app.reload import Change, Reloads
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.metrics.snapshot import Snapshot
from sidelight.collector.processors import build as processors
from sidelight.otlp import wire

_logger = logging.getLogger(__name__)

_PROBE_SECONDS = 1.0
# How long a drain waits for requests under way, out of shutdown_seconds.
FINISH_SECONDS = 2.0
# After shutdown_seconds, for closing files and connections.
_CLOSE_SECONDS = 3.0

Plan = tuple[Config, tuple[AnyDestination, ...]]
"""A configuration and its destinations, including auto-detected ones."""


class Service:
    """The running collector. Create it inside a running event loop, then `run` it.

    Raises `LogError` if the log folder cannot be used, and `ConfigError` for faults that only
    building shows.
    """

    def __init__(
        self,
        config: Config,
        destinations: Sequence[AnyDestination],
        *,
        worker: int | None = None,
        hash_key: bytes | None = None,
    ) -> None:
        """A `worker` of several shares its ports with the others and leaves /metrics to its
        supervisor. `hash_key`: the key of the content policy `hashed`, unless the configuration
        has one.
        """
        self._current = CurrentConfig(config)
        self._worker = worker
        self._hash_key = hash_key or os.urandom(processors.HASH_KEY_BYTES)
        self._stop = asyncio.Event()
        self.is_serving = asyncio.Event()
        self._parts = assemble(
            self._current,
            destinations,
            worker=worker,
            hash_key=self._hash_key,
        )
        self._reloads = Reloads(self._parts.registry, ConfigError)

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self._current.config

    @property
    def destinations(self) -> tuple[AnyDestination, ...]:
        """The destinations in use."""
        return self._parts.deliveries.destinations

    @property
    def health(self) -> Health:
        """The collector's health, for probes."""
        return self._parts.health

    def snapshot(self) -> Snapshot:
        """All metrics, to be merged with those of other workers."""
        parts = self._parts
        parts.self_metrics.refresh()
        return Snapshot(
            list(parts.registry.families()),
            list(parts.scraped.families()),
            list(parts.received.snapshot()),
        )

    async def run(self) -> None:
        """Serve until a signal or `stop`, then drain.

        Raises `ServiceError` if a port is not available.
        """
        background: list[asyncio.Task[None]] = []
        try:
            # First: what reads that it listens may tell it to stop at once.
            self._catch_signals()
            await self._listen()
            background = [
                asyncio.create_task(supervise(name, run))
                for name, run in (
                    ("retention", self._parts.retention.run),
                    ("replay", self._parts.replays.run),
                    ("disk", self._probe),
                    ("dashboards", self._write_dashboards),
                    ("plugin watch", self._watch_plugin),
                )
            ]
            keep_what_exists()
            self.is_serving.set()
            await self._stop.wait()
            await self._drain()
        finally:
            # Also after a failed start, so that ports and the log's folder are free again.
            behind = [
                delivery.name for delivery in self._parts.deliveries.all if delivery.is_behind
            ]
            for task in background:
                task.cancel()
            await self._parts.deliveries.close()
            await self._stop_receivers(0.0)
            await asyncio.gather(*background, return_exceptions=True)
            await self._parts.writer.close()
            # What something else deleted is written again, as long as it can be read.
            is_kept = await asyncio.to_thread(self._parts.log.secure)
            self._parts.log.close()
            if behind and self._stop.is_set():
                _report_undelivered(behind, is_kept=is_kept)

    def stop(self) -> None:
        """Start the drain."""
        self._stop.set()

    async def _listen(self) -> None:
        listening = []
        for configured in self._parts.receivers:
            address = await configured.receiver.start()
            if address is not None:
                listening.append(f"{configured.type.title} on {address}")
        if self._worker is None:
            serve = self.config.serve
            port = await bind(self._parts.serve.start, serve.host, serve.port, "serve")
            listening.append(f"/metrics on {serve.host}:{port}")
        _logger.info("listening: %s", ", ".join(listening))
        _logger.info(
            "log in %s, destinations: %s",
            self._parts.log.directory,
            ", ".join(delivery.name for delivery in self._parts.deliveries.all) or "none",
        )
        _logger.debug(
            "spans are read by %s", "the extension in C" if wire.HAS_C else "protobuf and Python"
        )

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._signalled)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _exit(1, f"second {number.name}: exiting now; the log keeps undelivered data")
        seconds = self.config.shutdown_seconds
        _logger.info("%s: draining, at most %.0f s", number.name, seconds)
        self._stop.set()
        # A thread that hangs on a dead disk or name server would keep the process alive.
        late = "the drain hangs, exiting now; the log keeps undelivered data"
        watchdog = threading.Timer(seconds + _CLOSE_SECONDS, _exit, (0, late))
        watchdog.daemon = True
        watchdog.start()

    async def _probe(self) -> None:
        # /readyz must notice a full or dead disk, and its recovery, without any traffic.
        while True:
            await self._parts.writer.probe()
            await asyncio.sleep(_PROBE_SECONDS)

    async def _watch_plugin(self) -> None:
        # Each of several workers hears of some processes only.
        if self.config.sidecar and self._worker is None:
            await PluginWatch(self._parts.received).run()

    async def _write_dashboards(self) -> None:
        """Write them in a process of its own: the Grafana SDK would stay in this one's memory."""
        directory = self.config.dashboards.directory
        if directory is None:
            return
        # Not by the event loop's own fork: gRPC's threads log warnings about it.
        process = await asyncio.to_thread(_dashboards_process, directory)
        if process.returncode == 0:
            _logger.info("dashboards written to %s", directory)
        else:
            reason = process.stderr.strip().rpartition("\n")[2].removeprefix("sidelight: ")
            _logger.warning("dashboards not written: %s", reason)

    async def reload(self, read: Callable[[], Plan]) -> Change | None:
        """Apply the configuration that `read` returns; it may block and raise `ConfigError`.

        Connections and the log stay. Returns None if it failed: nothing has changed then, and
        the log says why.
        """
        # A drain ends what a reload would start.
        if self._stop.is_set():
            return None
        return await self._reloads.attempt(partial(self._change, read))

    async def _change(self, read: Callable[[], Plan]) -> Change:
        # All that can fail comes first, so that a faulty configuration changes nothing.
        new, destinations = await asyncio.to_thread(read)
        config, waiting = reloaded(self.config, new)
        pipeline = await asyncio.to_thread(processors.build, config.processors, self._hash_key)
        applies = [
            configured.receiver.prepare(getattr(config.receivers, configured.type.name))
            for configured in self._parts.receivers
        ]
        changed = self._parts.deliveries.apply(destinations)
        # From here on nothing can fail.
        for apply in applies:
            apply()
        self._parts.intake.process_with(pipeline)
        logs.configure(config.logging.level, config.logging.format, self._worker)
        self._current.config = config
        return Change(tuple(changed), tuple(waiting))

    async def _drain(self) -> None:
        """Finish requests under way, then deliver for the rest of `shutdown_seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.shutdown_seconds
        # First of all, so that Kubernetes sends no more traffic.
        self._parts.health.is_draining = True
        await self._stop_receivers(min(FINISH_SECONDS, self.config.shutdown_seconds))
        await self._parts.writer.close()
        deliveries = self._parts.deliveries
        with suppress(TimeoutError):
            await asyncio.wait_for(deliveries.settled(), max(0.0, deadline - loop.time()))
        # Last, so that probes and a final scrape see the drain.
        await self._parts.serve.stop(0.5)

    async def _stop_receivers(self, timeout_seconds: float) -> None:
        receivers = (configured.receiver for configured in self._parts.receivers)
        await asyncio.gather(*(receiver.stop(timeout_seconds) for receiver in receivers))


def _report_undelivered(behind: Sequence[str], *, is_kept: bool) -> None:
    names = " and ".join(behind)
    if is_kept:
        _logger.warning(
            "stopped with undelivered data of %s; the log keeps it for the next start", names
        )
    else:
        _logger.error(
            "stopped with undelivered data of %s that is lost, because files of the log were "
            "deleted; stop sidelight before you delete its log",
            names,
        )


def _exit(code: int, message: str) -> NoReturn:
    """End the process, whatever its threads do. Acknowledged data is on the disk."""
    _logger.warning(message)
    os._exit(code)


def _dashboards_process(directory: Path) -> subprocess.CompletedProcess[str]:
    # The command line, because it explains a missing package in one sentence.
    return subprocess.run(
        [sys.executable, "-m", "sidelight.collector", "dashboards", "write", directory],
        capture_output=True,
        text=True,
        check=False,
    )
