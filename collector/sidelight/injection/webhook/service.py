"""Assembles the injector and runs it: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from typing import Final

import uvloop

from sidelight.base.background import supervise
from sidelight.base.configuration.section import ConfigError
from sidelight.base.garbage import keep_what_exists
from sidelight.base.http_server import HttpLimits, HttpServer, TlsOptions
from sidelight.base.listening import ServiceError, connections
from sidelight.base.signals import on_signal
from sidelight.base.tls.watched import Watched
from sidelight.collector.app import probes
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.registry import Registry
from sidelight.injection.settings import DEFAULT_FILE, read_settings
from sidelight.injection.webhook.certificates.keeper import CertificateKeeper, CertificatePlace
from sidelight.injection.webhook.certificates.rotation import Renewal
from sidelight.injection.webhook.certificates.served import (
    LatestPair,
    context_from,
    expiry_seconds,
    from_files,
)
from sidelight.injection.webhook.events import EventWriter, PodEvent
from sidelight.injection.webhook.handler import ReviewHandler
from sidelight.injection.webhook.health import InjectorHealth
from sidelight.injection.webhook.kubernetes_api import KubernetesApi, in_cluster, namespace_of
from sidelight.injection.webhook.metrics import InjectorMetrics
from sidelight.injection.webhook.options import InjectorOptions, SelfSignedCertificate
from sidelight.injection.webhook.review import MAX_REVIEW_BYTES

_logger = logging.getLogger(__name__)

# API servers keep a few connections each; probes of a port scanner must not take all of them.
_MAX_CONNECTIONS: Final = 256
# The API server waits for at most 30 s, ours are configured to wait for 5.
_REQUEST_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 120.0
_HANDSHAKE_SECONDS: Final = 5.0
# After the drain, for requests under way.
_FINISH_SECONDS: Final = 2.0


def serve(options: InjectorOptions) -> int:
    """Serve until a signal. Returns the exit code: 0, 1 cannot start, 2 a file has a fault."""
    try:
        uvloop.run(_run(options))
    except KeyboardInterrupt:
        _logger.info("interrupted while starting")
    except ServiceError as error:
        _logger.error("%s", error)
        return 1
    except ConfigError as error:
        _logger.error("%s", error)
        return 2
    return 0


async def _run(options: InjectorOptions) -> None:
    await Injector(options, os.environ).run()


class Injector:
    """The running injector. Create it inside a running event loop, then `run` it.

    Raises `ConfigError` for settings or certificates that cannot be used, and `ServiceError`
    if it needs an API server and is not in a cluster.
    """

    def __init__(self, options: InjectorOptions, environ: Mapping[str, str]) -> None:
        """`environ` says where the API server is, and the names of this pod and its namespace."""
        self._options = options
        self._stop = asyncio.Event()
        registry = Registry()
        metrics = InjectorMetrics(registry)
        file = options.settings or DEFAULT_FILE
        settings = Watched([file], lambda: read_settings(file))
        is_self_signed = isinstance(options.certificate, SelfSignedCertificate)
        self._api: KubernetesApi | None = None
        if is_self_signed or options.writes_events:
            self._api = in_cluster(environ, options.service_account)
        self._events = self._keeper = None
        if self._api is not None and options.writes_events:
            self._events = EventWriter(self._api, metrics, environ.get("POD_NAME", "injector"))
        if isinstance(options.certificate, SelfSignedCertificate):
            assert self._api is not None
            latest = LatestPair()
            certificate = latest.current
            namespace = namespace_of(environ, options.service_account)
            self._keeper = _keeper(self._api, options.certificate, namespace, latest)
        else:
            files = options.certificate
            certificate = from_files(files.certificate, files.key)
        metrics.expiry.set_function(lambda: expiry_seconds(certificate))
        self._health = InjectorHealth(
            Exposition(lambda: Families(own=registry.families())), certificate, self._distrust
        )
        self._serve = HttpServer(probes.handler(self._health, probes.nobody), probes.limits())
        self._webhook = HttpServer(
            ReviewHandler(settings.current, metrics, self._tell).handle,
            _limits(),
            refused=lambda _path, _status, _sentence: metrics.failed("refused"),
            tls=TlsOptions(context_from(certificate), _HANDSHAKE_SECONDS, metrics.failed_handshake),
        )

    async def run(self) -> None:
        """Serve until a signal or `stop`, then drain. Raises `ServiceError`."""
        background: list[asyncio.Task[None]] = []
        options = self._options
        try:
            # Before there is a certificate, so that a port in use is told at the start.
            port = await _bind(self._webhook, options.host, options.port, "--")
            serve_port = await _bind(
                self._serve, options.serve_host, options.serve_port, "--serve-"
            )
            _logger.info(
                "listening: webhook on %s:%d, /metrics on %s:%d",
                options.host,
                port,
                options.serve_host,
                serve_port,
            )
            for name, part in (("certificates", self._keeper), ("events", self._events)):
                if part is not None:
                    background.append(asyncio.create_task(supervise(name, part.run)))
            self._catch_signals()
            keep_what_exists()
            await self._stop.wait()
            # The Service goes on sending requests until it knows that this pod is not ready.
            self._health.is_draining = True
            await asyncio.sleep(options.drain_seconds)
            await self._webhook.stop(_FINISH_SECONDS)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            # After the webhook, so that a probe sees the drain to its end.
            await self._webhook.stop(0.0)
            await self._serve.stop(0.0)
            if self._api is not None:
                self._api.close()

    def stop(self) -> None:
        """Start the drain."""
        self._stop.set()

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._signalled)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _logger.warning("second %s: exiting now", number.name)
            logging.shutdown()
            os._exit(1)
        _logger.info("%s: draining for %.0f s", number.name, self._options.drain_seconds)
        self._stop.set()

    def _tell(self, event: PodEvent) -> None:
        if self._events is not None:
            self._events.offer(event)

    def _distrust(self) -> str | None:
        if self._keeper is None or self._keeper.is_trusted:
            return None
        return self._keeper.trouble or "the certificate is not in the webhook configuration yet"


async def _bind(server: HttpServer, host: str, port: int, prefix: str) -> int:
    """Listen and return the port. Raises `ServiceError` naming the options."""
    try:
        return await server.start(host, port)
    except OSError as error:
        raise ServiceError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): choose another address "
            f"by {prefix}host and {prefix}port"
        ) from error


def _keeper(
    api: KubernetesApi, options: SelfSignedCertificate, namespace: str, latest: LatestPair
) -> CertificateKeeper:
    # The API server calls NAME.NAMESPACE.svc; the others are what people try with curl.
    host = f"{options.service}.{namespace}.svc"
    names = (host, f"{host}.cluster.local", f"{options.service}.{namespace}")
    return CertificateKeeper(
        api,
        CertificatePlace(namespace, options.secret, options.configuration),
        Renewal(names, options.days),
        latest.serve,
    )


def _limits() -> HttpLimits:
    return HttpLimits(
        max_body_bytes=MAX_REVIEW_BYTES,
        max_buffered_bytes=4 * MAX_REVIEW_BYTES,
        max_connections=connections(_MAX_CONNECTIONS, "injector"),
        header_timeout_seconds=_REQUEST_SECONDS,
        body_timeout_seconds=_REQUEST_SECONDS,
        idle_timeout_seconds=_IDLE_SECONDS,
    )
