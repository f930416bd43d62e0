"""Looks into the collector of a pod: whether it runs, what it received, what it has yet to send."""

from __future__ import annotations

import asyncio
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.delivery.subscription_config import subscription_configs
from sidelight.collector.doctor import running_collector
from sidelight.collector.doctor.pod import findings, plugins
from sidelight.collector.doctor.pod.plugins import Heard
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.view import LogView, views
from sidelight.instrumentation.vllm.environment import DEFAULT_ENDPOINT

TIMEOUT_SECONDS = 3.0


def run(config: Config, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Check]:
    """All findings, from the outside to the inside. Blocks."""
    running = asyncio.run(running_collector.look(config.serve, timeout_seconds))
    checks = [
        _collector(config, is_running=running is not None),
        _endpoint(config, timeout_seconds),
    ]
    try:
        logs = views(config.log.directory)
        return [*checks, *_received(plugins.read(logs)), *_undelivered(config, logs)]
    except (ConfigError, LogError, OSError) as error:
        advice = "Run this in the container of the collector, with its configuration."
        return [*checks, Check("log", "fail", str(error), advice)]


def _received(heard: Heard) -> list[Check]:
    now_ns = time.time_ns()
    newest = heard.newest()
    return [
        findings.plugin(heard, own_version(), now_ns),
        findings.last_span(newest, now_ns),
        findings.last_step(newest, now_ns),
    ]


def _undelivered(config: Config, logs: list[LogView]) -> list[Check]:
    now_ns = time.time_ns()
    configured = subscription_configs(detect.destinations(config))
    if not configured:
        return [findings.no_destination()]
    lags = [lag for log in logs for lag in log.lags()]
    segments = [segment for log in logs for segment in log.segments(check=False)]
    checks = []
    for name in (subscription.name for subscription in configured):
        if own := [lag for lag in lags if lag.subscription == name]:
            counts = [lag.items for lag in own]
            times_ns = [lag.oldest_ns for lag in own]
        else:
            # Without a cursor it has delivered nothing, and has the whole log before it.
            counts = [segment.items for segment in segments]
            times_ns = [segment.first_ns for segment in segments]
        items = sum(sum(count.values()) for count in counts)
        oldest_ns = min((time_ns for time_ns in times_ns if time_ns is not None), default=None)
        checks.append(findings.delivery(name, items, oldest_ns, now_ns))
    return checks


def own_version() -> str | None:
    """The version of this Sidelight; None if it runs from its sources."""
    try:
        return version("sidelight")
    except PackageNotFoundError:
        return None


def _collector(config: Config, *, is_running: bool) -> Check:
    name, place = "collector", f"{config.serve.host}:{config.serve.port}"
    if is_running:
        return Check(name, "ok", f"Sidelight {own_version() or '?'} answers at {place}")
    return Check(
        name,
        "fail",
        f"no Sidelight answers at {place}",
        "Look into the log of the container sidelight. Run this with its configuration.",
    )


def _endpoint(config: Config, timeout_seconds: float) -> Check:
    """Whether the plugin can reach the receiver. It sends OTLP over HTTP, whatever is set."""
    name, receiver = "endpoint", config.receivers.otlp_http
    if not receiver.enabled:
        advice = "Set receivers.otlp_http.enabled to true."
        return Check(name, "fail", "OTLP/HTTP is switched off, and vLLM's plugin uses it", advice)
    host = running_collector.own_address(receiver.host)
    place = f"{host}:{receiver.port}"
    try:
        socket.create_connection((host, receiver.port), timeout_seconds).close()
    except OSError as error:
        return Check(
            name,
            "fail",
            f"nothing listens at {place} ({error.strerror or error})",
            "Look into the log of the container sidelight.",
        )
    if place == urlsplit(DEFAULT_ENDPOINT).netloc:
        return Check(name, "ok", f"{place}, where vLLM's plugin sends by default")
    return Check(
        name, "ok", f"{place}, if vLLM's container has OTEL_EXPORTER_OTLP_ENDPOINT=http://{place}"
    )
