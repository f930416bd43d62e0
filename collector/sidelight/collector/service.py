"""The composition root: builds the collector from its configuration, runs and drains it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from sidelight import conventions as c
from sidelight.collector import health
from sidelight.collector.config import AnyDestination, Config
from sidelight.collector.http_server import HttpServer, Limits
from sidelight.collector.intake import Intake
from sidelight.collector.lens.repetition import is_repetition
from sidelight.collector.log import folder
from sidelight.collector.log.duplicates import RECOVERED_BYTES, Duplicates
from sidelight.collector.log.log import SegmentLog
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.measure.exposition import Exposition
from sidelight.collector.measure.otlp_metrics import OtlpMetrics
from sidelight.collector.measure.registry import Registry
from sidelight.collector.receive import otlp_http
from sidelight.collector.receive.otlp_grpc import MAX_CONNECTIONS as GRPC_CONNECTIONS
from sidelight.collector.receive.otlp_grpc import GrpcServer
from sidelight.collector.receive.scrape import Scraper
from sidelight.collector.send.build import forwarders
from sidelight.collector.send.sampling import Decision
from sidelight.collector.shape import build as shape

_logger = logging.getLogger(__name__)

_RETENTION_SECONDS = 5.0
_RESTART_SECONDS = 1.0
_PROBE_SECONDS = 1.0
# In a drain: for requests that have begun to arrive.
_FINISH_SECONDS = 2.0
# Beyond shutdown_seconds, for closing.
_LATEST_SECONDS = 3.0
# Probes and scrapes are small and few.
_PROBES = 128
_SERVE_LIMITS = Limits(
    max_body_bytes=64 * 1024,
    max_buffered_bytes=1024 * 1024,
    max_connections=_PROBES,
    header_timeout_seconds=10.0,
    body_timeout_seconds=10.0,
    idle_timeout_seconds=120.0,
)


class ServiceError(Exception):
    """The service cannot start; the message says what to change."""


class _Tallies:
    """Counts what the forwarders do."""

    def __init__(self, registry: Registry) -> None:
        self._delivered = registry.counter(c.COLLECTOR_DELIVERED, ("destination",))
        self._dropped = registry.counter(c.COLLECTOR_DROPPED, ("destination", "reason"))
        self._retries = registry.counter(c.COLLECTOR_RETRIES, ("destination",))
        self._withheld = registry.counter(c.COLLECTOR_WITHHELD, ("destination", "reason"))
        self._sampled = registry.counter(c.COLLECTOR_SAMPLED, ("destination", "decision", "reason"))

    def delivered(self, destination: str, items: int) -> None:
        self._delivered.labels(destination).inc(items)

    def dropped(self, destination: str, items: int, reason: str) -> None:
        self._dropped.labels(destination, reason).inc(items)

    def retried(self, destination: str) -> None:
        self._retries.labels(destination).inc()

    def withheld(self, destination: str, reason: str, items: int) -> None:
        self._withheld.labels(destination, reason).inc(items)

    def sampled(self, destination: str, decision: Decision) -> None:
        outcome = "kept" if decision.is_kept else "dropped"
        self._sampled.labels(destination, outcome, decision.name.lower()).inc()


class Service:
    """The running collector. Build it inside a running event loop, then `run`.

    Raises `LogError` if the log folder cannot be used, `ConfigError` for what only shows when
    parts are built.
    """

    def __init__(self, config: Config, destinations: Sequence[AnyDestination]) -> None:
        self._config = config
        self._stop = asyncio.Event()
        registry = Registry()
        self._tallies = _Tallies(registry)
        otlp_metrics = OtlpMetrics(registry)
        self._scraper = Scraper(config.receive.scrape, registry)
        self._log = SegmentLog(config.log.directory, segment_bytes=config.log.segment_bytes)
        self._forwarders = forwarders(
            destinations,
            self._log,
            directory=config.log.directory,
            observer=self._tallies,
        )
        self._writer = LogWriter(
            self._log,
            max_pending_bytes=config.log.max_pending_bytes,
            encoding="gzip" if config.log.compression == "gzip" else "identity",
            appended=self._wake,
        )
        shaper = shape.build(config.shape)
        storage = Duplicates(
            self._writer,
            seconds=config.log.dedupe_seconds,
            is_repetition=is_repetition,
            recovered=folder.newest(config.log.directory, RECOVERED_BYTES),
        )
        intake = Intake(storage, registry, otlp_metrics, shaper, config.measure)
        requests = registry.counter(c.COLLECTOR_REQUESTS, ("protocol", "outcome"))
        self._lag = registry.gauge(c.COLLECTOR_LAG, ("destination",))
        self._log_bytes = registry.gauge(c.COLLECTOR_LOG_BYTES)
        http = config.receive.otlp_http
        http_connections = _connections(http.max_connections, "receive.otlp_http")
        self._http = otlp_http.build(
            http.model_copy(update={"max_connections": http_connections}), intake, requests
        )
        self._grpc = (
            GrpcServer(
                config.receive.otlp_grpc,
                intake,
                requests,
                max_connections=_connections(GRPC_CONNECTIONS, "receive.otlp_grpc"),
            )
            if config.receive.otlp_grpc.enabled
            else None
        )
        self._health = health.Health(self._writer, self._forwarders)
        exposition = Exposition((registry, otlp_metrics, self._scraper))
        self._serve = HttpServer(
            health.handler(exposition, self._health, self._refresh_gauges),
            replace(_SERVE_LIMITS, max_connections=_connections(_PROBES, "serve")),
        )

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
                    ("retention", self._retain),
                    ("disk", self._probe),
                    ("scraper", self._scraper.run),
                    ("dashboards", self._write_dashboards),
                    *((f.destination.name, f.run) for f in self._forwarders),
                )
            ]
            self._catch_signals()
            await self._stop.wait()
            await self._drain()
        finally:
            for task in background:
                task.cancel()
            for forwarder in self._forwarders:
                forwarder.close()
            await asyncio.gather(*background, return_exceptions=True)
            await self._writer.close()
            self._log.close()

    def stop(self) -> None:
        """Begin to drain."""
        self._stop.set()

    # ── starting ─────────────────────────────────────────────────────────────────────────

    async def _listen(self) -> None:
        receive = self._config.receive
        listening = []
        if receive.otlp_http.enabled:
            section = receive.otlp_http
            port = await _bind(self._http.start, section.host, section.port, "receive.otlp_http")
            listening.append(f"OTLP/HTTP on {section.host}:{port}")
        if self._grpc is not None:
            grpc_section = receive.otlp_grpc
            port = await _bind(
                self._grpc.start, grpc_section.host, grpc_section.port, "receive.otlp_grpc"
            )
            listening.append(f"OTLP/gRPC on {grpc_section.host}:{port}")
        serve = self._config.serve
        port = await _bind(self._serve.start, serve.host, serve.port, "serve")
        listening.append(f"/metrics on {serve.host}:{port}")
        _logger.info("listening: %s", ", ".join(listening))
        _logger.info(
            "log in %s, destinations: %s",
            self._config.log.directory,
            ", ".join(f.destination.name for f in self._forwarders)
            or "none (data is kept until one is configured or retention takes it)",
        )

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _leave(1, f"second {number.name}: leaving at once; the log keeps the rest")
        seconds = self._config.shutdown_seconds
        _logger.info("%s: draining, at most %.0f s", number.name, seconds)
        self._stop.set()
        # A thread that waits for a dead disk or a name server cannot be stopped otherwise.
        late = "something hangs and is left behind; the log keeps the rest"
        watchdog = threading.Timer(seconds + _LATEST_SECONDS, _leave, (0, late))
        watchdog.daemon = True
        watchdog.start()

    # ── running ──────────────────────────────────────────────────────────────────────────

    def _wake(self) -> None:
        for forwarder in self._forwarders:
            forwarder.wake()

    def _refresh_gauges(self) -> None:
        for forwarder in self._forwarders:
            self._lag.labels(forwarder.destination.name).set(forwarder.lag_seconds)
        self._log_bytes.set(self._log.size_bytes())

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """A part that fails is logged and begun anew; the others go on."""
        while True:
            try:
                return await run()
            except Exception:
                _logger.exception("%s failed and is begun anew", name)
                await asyncio.sleep(_RESTART_SECONDS)

    async def _retain(self) -> None:
        cursors = {each.destination.name: each.destination.signals for each in self._forwarders}
        options = self._config.log
        while True:
            dropped = await asyncio.to_thread(
                self._log.trim,
                cursors,
                max_bytes=options.max_bytes,
                max_age_seconds=options.max_age_seconds,
                # On a full disk nothing is kept for its own sake.
                keep_seconds=0.0 if self._writer.trouble else options.keep_seconds,
                keep_bytes=options.keep_bytes,
            )
            for loss in dropped:
                self._tallies.dropped(loss.cursor, loss.items, loss.reason)
                _logger.error(
                    "retention by %s took %d items that %s had not got: "
                    "raise log.max_bytes or log.max_age_seconds, or mend the destination",
                    loss.reason,
                    loss.items,
                    loss.cursor,
                )
            await asyncio.sleep(_RETENTION_SECONDS)

    async def _probe(self) -> None:
        while True:
            await self._writer.probe()
            await asyncio.sleep(_PROBE_SECONDS)

    async def _write_dashboards(self) -> None:
        """In a process of its own: the Grafana SDK would stay in this one's memory."""
        directory = self._config.dashboards.directory
        if directory is None:
            return
        # Not through the event loop's own fork, which gRPC's threads complain about.
        process = await asyncio.to_thread(_dashboards_process, directory)
        if process.returncode == 0:
            _logger.info("dashboards written to %s", directory)
        else:
            reason = process.stderr.strip().rpartition("\n")[2].removeprefix("sidelight: ")
            _logger.warning("dashboards were not written: %s", reason)

    # ── ending ───────────────────────────────────────────────────────────────────────────

    async def _drain(self) -> None:
        """Finish what was begun, then give the destinations what time is left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.shutdown_seconds
        self._health.is_draining = True
        finish = min(_FINISH_SECONDS, self._config.shutdown_seconds)
        stops = [self._http.stop(finish)]
        if self._grpc is not None:
            stops.append(self._grpc.stop(finish))
        await asyncio.gather(*stops)
        await self._writer.close()
        settled = asyncio.gather(*(forwarder.settled() for forwarder in self._forwarders))
        with suppress(TimeoutError):
            await asyncio.wait_for(settled, max(0.0, deadline - loop.time()))
        behind = [f.destination.name for f in self._forwarders if f.lag_seconds]
        if behind:
            _logger.warning(
                "stopped before %s had everything; the log keeps the rest for the next start",
                " and ".join(behind),
            )
        await self._serve.stop(0.5)


def _connections(wanted: int, section: str) -> int:
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


async def _bind(
    start: Callable[[str, int], Awaitable[int]], host: str, port: int, section: str
) -> int:
    try:
        return await start(host, port)
    except socket.gaierror as error:
        raise ServiceError(
            f"cannot listen on {host}:{port}, the host cannot be resolved: set {section}.host"
        ) from error
    except OSError as error:
        # asyncio's own text repeats the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = (
            f"set {section}.host to an address of this machine"
            if error.errno == errno.EADDRNOTAVAIL
            else f"stop what holds it, or set {section}.port or {section}.host"
        )
        raise ServiceError(f"cannot listen on {host}:{port} ({reason}): {advice}") from error
