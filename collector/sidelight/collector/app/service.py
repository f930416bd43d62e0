"""The composition root: builds the collector from its configuration, runs and drains it."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sidelight import conventions as c
from sidelight.base import logging_setup as logs
from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_server import HttpServer
from sidelight.base.listening import bind, connections
from sidelight.collector.app import probes
from sidelight.collector.app.access import Access
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import reloaded
from sidelight.collector.app.delivery_metrics import Tallies
from sidelight.collector.app.health import Health
from sidelight.collector.app.reload import Change, Reloads
from sidelight.collector.app.retention import Retention
from sidelight.collector.delivery.deliveries import Deliveries, Store
from sidelight.collector.delivery.replays import Replays
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.ingest.intake import Intake
from sidelight.collector.log import folder
from sidelight.collector.log.duplicates import RECOVERED_BYTES, Duplicates
from sidelight.collector.log.log import SegmentLog
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.metrics import snapshot
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.otlp_metrics import OtlpMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.snapshot import Snapshot
from sidelight.collector.processors import build as shape
from sidelight.collector.receivers.otlp_http import receiver as otlp_http
from sidelight.collector.receivers.scrape.scraper import Scraper
from sidelight.otlp.repetition import is_repetition

if TYPE_CHECKING:
    from sidelight.collector.receivers.otlp_grpc.receiver import GrpcServer

_logger = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
_PROBE_SECONDS = 1.0
# In a drain: for requests that have begun to arrive.
_FINISH_SECONDS = 2.0
# Beyond shutdown_seconds, for closing.
_LATEST_SECONDS = 3.0

Plan = tuple[Config, tuple[AnyDestination, ...]]
"""A configuration, and its destinations after those that are there without asking."""


class Service:
    """The running collector. Build it inside a running event loop, then `run`.

    Raises `LogError` if the log folder cannot be used, `ConfigError` for what only shows when
    parts are built.
    """

    def __init__(
        self,
        config: Config,
        destinations: Sequence[AnyDestination],
        *,
        left_behind: Sequence[Path] = (),
        worker: int | None = None,
        hash_key: bytes | None = None,
    ) -> None:
        """`left_behind`: log folders to empty. A `worker` of several shares its ports with the
        others and leaves /metrics to its supervisor. `hash_key`: of the marks under the content
        policy `hashed`, where the configuration has none.
        """
        self.config = config
        self._worker = worker
        self._hash_key = hash_key or os.urandom(shape.HASH_KEY_BYTES)
        self._stop = asyncio.Event()
        self.is_serving = asyncio.Event()
        registry = self._registry = Registry()
        self._entrance = Access(config.receive, config.serve, registry)
        self._http_tls = self._entrance.otlp_http_tls()
        self._reloads = Reloads(registry, ConfigError)
        tallies = Tallies(registry)
        self._otlp_metrics = otlp_metrics = OtlpMetrics(registry)
        self._scraper = Scraper(config.receive.scrape, registry)
        own, *others = (
            Store(SegmentLog(each, segment_bytes=config.log.segment_bytes), each)
            for each in (config.log.directory, *left_behind)
        )
        self._log = own.log
        self._deliveries = Deliveries((*others, own), tallies)
        self._writer = LogWriter(
            self._log,
            max_pending_bytes=config.log.max_pending_bytes,
            encoding="gzip" if config.log.compression == "gzip" else "identity",
            appended=self._deliveries.wake,
        )
        shaper = shape.build(config.shape, self._hash_key)
        storage = Duplicates(
            self._writer,
            seconds=config.log.dedupe_seconds,
            is_repetition=is_repetition,
            recovered=folder.newest(config.log.directory, RECOVERED_BYTES),
        )
        self._intake = Intake(storage, registry, otlp_metrics, shaper, config.measure)
        self._requests = registry.counter(c.COLLECTOR_REQUESTS, ("protocol", "outcome"))
        self._lag = registry.gauge(c.COLLECTOR_LAG, ("destination",))
        self._with_lag: set[str] = set()
        self._log_bytes = registry.gauge(c.COLLECTOR_LOG_BYTES)
        self._pending = registry.gauge(c.COLLECTOR_PENDING)
        self._buffered = registry.gauge(c.COLLECTOR_BUFFERED)
        self._connections = registry.gauge(c.COLLECTOR_CONNECTIONS)
        self._http = self._http_server(config)
        self._grpc = (
            self._grpc_server(config, shares_port=worker is not None)
            if config.receive.otlp_grpc.enabled
            else None
        )
        self._retention = Retention(
            own,
            others,
            self._deliveries,
            tallies,
            options=lambda: self.config.log,
            is_in_trouble=lambda: self._writer.trouble is not None,
        )
        self._replays = Replays(own, others, self._deliveries)
        self._scraping: asyncio.Task[None] | None = None
        exposition = Exposition((registry, otlp_metrics, self._scraper))
        self.health = Health(self._writer, self._deliveries, exposition, self._refresh_gauges)
        self._serve = HttpServer(
            probes.handler(self.health),
            probes.limits(),
            admit=self._entrance.serve_admit(),
            tls=self._entrance.serve_tls(),
        )
        self._deliveries.apply(destinations)

    async def run(self) -> None:
        """Serve until a signal or `stop`, then drain.

        Raises `ServiceError` if a port cannot be had.
        """
        background: list[asyncio.Task[None]] = []
        try:
            await self._listen()
            background = [
                asyncio.create_task(self._supervise(name, run))
                for name, run in (
                    ("retention", self._retention.run),
                    ("replay", self._replays.run),
                    ("disk", self._probe),
                    ("dashboards", self._write_dashboards),
                )
            ]
            self._scrape()
            self._catch_signals()
            # What is here now stays: the collector of garbage need not look at it again.
            gc.collect()
            gc.freeze()
            self.is_serving.set()
            await self._stop.wait()
            await self._drain()
        finally:
            if self._scraping is not None:
                background.append(self._scraping)
            for task in background:
                task.cancel()
            self._deliveries.close()
            await asyncio.gather(*background, return_exceptions=True)
            await self._writer.close()
            self._retention.close()

    def stop(self) -> None:
        """Begin to drain."""
        self._stop.set()

    # ── starting ─────────────────────────────────────────────────────────────────────────

    async def _listen(self) -> None:
        receive = self.config.receive
        listening = []
        if receive.otlp_http.enabled:
            section = receive.otlp_http
            start = partial(self._http.start, reuse_port=self._worker is not None)
            port = await bind(start, section.host, section.port, "receive.otlp_http")
            listening.append(f"OTLP/HTTP on {section.host}:{port}")
        if self._grpc is not None:
            grpc_section = receive.otlp_grpc
            port = await bind(
                self._grpc.start, grpc_section.host, grpc_section.port, "receive.otlp_grpc"
            )
            listening.append(f"OTLP/gRPC on {grpc_section.host}:{port}")
        if self._worker is None:
            serve = self.config.serve
            port = await bind(self._serve.start, serve.host, serve.port, "serve")
            listening.append(f"/metrics on {serve.host}:{port}")
        _logger.info("listening: %s", ", ".join(listening))
        if not self._worker:
            self._entrance.warn_of_open_doors()
        _logger.info(
            "log in %s, destinations: %s",
            self.config.log.directory,
            ", ".join(each.name for each in self._deliveries.all)
            or "none (data is kept until one is configured or retention takes it)",
        )

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _leave(1, f"second {number.name}: leaving at once; the log keeps the rest")
        seconds = self.config.shutdown_seconds
        _logger.info("%s: draining, at most %.0f s", number.name, seconds)
        self._stop.set()
        # A thread that waits for a dead disk or a name server cannot be stopped otherwise.
        late = "something hangs and is left behind; the log keeps the rest"
        watchdog = threading.Timer(seconds + _LATEST_SECONDS, _leave, (0, late))
        watchdog.daemon = True
        watchdog.start()

    # ── running ──────────────────────────────────────────────────────────────────────────

    def _scrape(self) -> None:
        """Scrape the targets there are now."""
        if self._scraping is not None:
            self._scraping.cancel()
        self._scraping = asyncio.create_task(self._supervise("scraper", self._scraper.run))

    def _refresh_gauges(self) -> None:
        for name in self._with_lag:
            self._lag.labels(name).set(math.nan)
        self._with_lag = {each.name for each in self._deliveries.all}
        for each in self._deliveries.all:
            self._lag.labels(each.name).set(each.lag_seconds)
        self._log_bytes.set(self._retention.size_bytes())
        self._pending.set(self._writer.pending_bytes)
        self._buffered.set(self._http.budget.used)
        self._connections.set(len(self._http.connections))

    def snapshot(self, *, exemplars: bool) -> Snapshot:
        """What has been measured, to be put together with what other workers have."""
        self._refresh_gauges()
        received = self._otlp_metrics.received(exemplars=exemplars)
        return snapshot.take(self._registry, self._scraper, received, exemplars=exemplars)

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """A part that fails is logged and begun anew; the others go on."""
        while True:
            try:
                return await run()
            except Exception:
                _logger.exception("%s failed and is begun anew", name)
                await asyncio.sleep(_RESTART_SECONDS)

    async def _probe(self) -> None:
        while True:
            await self._writer.probe()
            await asyncio.sleep(_PROBE_SECONDS)

    async def _write_dashboards(self) -> None:
        """In a process of its own: the Grafana SDK would stay in this one's memory."""
        directory = self.config.dashboards.directory
        if directory is None:
            return
        # Not through the event loop's own fork, which gRPC's threads complain about.
        process = await asyncio.to_thread(_dashboards_process, directory)
        if process.returncode == 0:
            _logger.info("dashboards written to %s", directory)
        else:
            reason = process.stderr.strip().rpartition("\n")[2].removeprefix("sidelight: ")
            _logger.warning("dashboards were not written: %s", reason)

    # ── changing ─────────────────────────────────────────────────────────────────────────

    @property
    def destinations(self) -> tuple[AnyDestination, ...]:
        """Those that data is sent to now."""
        return self._deliveries.destinations

    async def reload(self, read: Callable[[], Plan]) -> Change | None:
        """Run with what `read` (which may block and raise `ConfigError`) returns.

        Connections stay, and so does what is in the log. None if it failed; then everything is
        as it was, and the log says why.
        """
        if self._stop.is_set():
            return None
        return await self._reloads.attempt(partial(self._change, read))

    async def _change(self, read: Callable[[], Plan]) -> Change:
        wanted, destinations = await asyncio.to_thread(read)
        config, waiting = reloaded(self.config, wanted)
        shaper = await asyncio.to_thread(shape.build, config.shape, self._hash_key)
        targets = self._scraper.prepare(config.receive.scrape)
        changed = self._deliveries.apply(destinations)
        # From here on nothing can fail.
        if config.receive.scrape != self.config.receive.scrape:
            self._scraper.switch(config.receive.scrape, targets)
            self._scrape()
        if config.receive.otlp_http != self.config.receive.otlp_http:
            self._http.become(self._http_server(config))
        self._intake.shape_with(shaper)
        logs.configure(config.logging.level, config.logging.format, self._worker)
        self.config = config
        return Change(tuple(changed), tuple(waiting))

    def _grpc_server(self, config: Config, *, shares_port: bool) -> GrpcServer:
        # Only who uses it pays for it: 10 MB.
        from sidelight.collector.receivers.otlp_grpc import receiver as otlp_grpc

        return otlp_grpc.GrpcServer(
            config.receive.otlp_grpc,
            self._intake,
            self._requests,
            self._entrance.admission,
            max_connections=connections(otlp_grpc.MAX_CONNECTIONS, "receive.otlp_grpc"),
            reuse_port=shares_port,
        )

    def _http_server(self, config: Config) -> HttpServer:
        section = config.receive.otlp_http
        allowed = connections(section.max_connections, "receive.otlp_http")
        section = section.model_copy(update={"max_connections": allowed})
        admission = self._entrance.admission
        return otlp_http.build(section, self._intake, self._requests, admission, self._http_tls)

    # ── ending ───────────────────────────────────────────────────────────────────────────

    async def _drain(self) -> None:
        """Finish what was begun, then give the destinations what time is left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.shutdown_seconds
        self.health.is_draining = True
        finish = min(_FINISH_SECONDS, self.config.shutdown_seconds)
        stops = [self._http.stop(finish)]
        if self._grpc is not None:
            stops.append(self._grpc.stop(finish))
        await asyncio.gather(*stops)
        await self._writer.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._deliveries.settled(), max(0.0, deadline - loop.time()))
        behind = [each.name for each in self._deliveries.all if each.is_behind]
        if behind:
            _logger.warning(
                "stopped before %s had everything; the log keeps the rest for the next start",
                " and ".join(behind),
            )
        await self._serve.stop(0.5)


def _leave(code: int, message: str) -> NoReturn:
    """End the process whatever its threads do: what was acknowledged is on the disk."""
    _logger.warning(message)
    os._exit(code)


def _dashboards_process(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidelight.collector", "dashboards", "write", directory],
        capture_output=True,
        text=True,
        check=False,
    )
