"""Sends to any OTLP/gRPC endpoint. Requests stay serialised, as they are stored."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import off_loop_if, run_in_thread
from sidelight.base.http_client.client import MAX_ANSWER_BYTES
from sidelight.base.http_client.proxy import ProxySettingError, proxy_for
from sidelight.collector.destinations.common.answer import (
    MAX_RETRY_AFTER_SECONDS,
    plain,
    with_words,
)
from sidelight.collector.destinations.common.credentials import SecretHeaders
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

METHODS: dict[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_OPTIONS = (
    ("grpc.primary_user_agent", f"sidelight/{version('sidelight')}"),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)
# Codes that blame the request, by the HTTP status they stand for. All others are retried.
_BLAMING = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
}
# gRPC's servers use RESOURCE_EXHAUSTED both for a large message, with these words, and for load.
_TOO_LARGE = re.compile(r"(?i)message (?:is )?larger than|too large|message length")


def build(config: OtlpGrpcDestination) -> OtlpGrpcExporter:
    """The exporter of the configured signals.

    Raises `ConfigError` for a URL with a path and for a header that gRPC cannot carry.
    """
    if urlsplit(config.url).path:
        raise ConfigError(
            f"destination {config.name}: url must end with the port, because gRPC has no paths"
        )
    for header in config.headers:
        # Keys that start with grpc- are reserved (gRPC over HTTP/2, "Custom-Metadata").
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", header) or header.lower().startswith("grpc-"):
            raise ConfigError(
                f"destination {config.name}: {header!r} is not a valid metadata key of gRPC"
            )
    return OtlpGrpcExporter(config)


def _proxy_options(url: str) -> tuple[tuple[str, object], ...]:
    """gRPC's options for the proxy, chosen as for HTTP destinations.

    gRPC's own rule would use the proxy for loopback addresses as well.

    Raises `ProxySettingError`.
    """
    proxy = proxy_for(url, os.environ)
    if proxy is None:
        return (("grpc.enable_http_proxy", 0),)
    return (("grpc.http_proxy", proxy.url),)


class OtlpGrpcExporter:
    """Sends over one channel, which reconnects by itself.

    Calls use gRPC's thread-safe API and wake the loop. `grpc.aio` costs the same, but it can
    only start calls on the loop, which then waits while the request is compressed.
    """

    def __init__(self, config: OtlpGrpcDestination) -> None:
        self.name = config.name
        self.signals: frozenset[Signal] = frozenset(config.signals)
        self.pace_items_per_second = config.pace_items_per_second
        self._url = config.url
        self._timeout_seconds = config.timeout_seconds
        self._credentials = SecretHeaders(config.headers)
        options: tuple[tuple[str, object], ...] = _OPTIONS
        # A wrong proxy is retried like a wrong address: a variable may be corrected, and the
        # other destinations must start.
        self._proxy_fault: str | None = None
        try:
            options += _proxy_options(config.url)
        except ProxySettingError as error:
            self._proxy_fault = str(error)
        parts = urlsplit(config.url)
        # 4317 is OTLP's port for gRPC.
        place = parts.netloc if parts.port else f"{parts.netloc}:4317"
        self._channel = (
            grpc.secure_channel(place, grpc.ssl_channel_credentials(), options)
            if parts.scheme == "https"
            else grpc.insecure_channel(place, options)
        )
        self._calls = {
            signal: self._channel.unary_unary(METHODS[signal]) for signal in config.signals
        }

    async def send(self, record: Record) -> Outcome:
        """Send one record. Faults of network, backend and credentials are outcomes."""
        if self._proxy_fault is not None:
            return Retry(f"{self._url}: {self._proxy_fault}")
        try:
            headers = await run_in_thread(self._credentials.headers, "sidelight-secrets")
            # gRPC compresses when a call starts: 10 ms for a request of 1 MB.
            start = partial(self._start, record, headers)
            call = await off_loop_if(record.is_large, start)
            answer = await _answer(call)
        except ConfigError as error:
            return Retry(str(error))
        except grpc.RpcError as error:
            return self._judge(error)
        except ValueError:  # gRPC's error for a closed channel
            return Retry(f"{self._url}: not sent, the destination is closing")
        return _delivered(answer)

    def _start(self, record: Record, headers: Mapping[str, str]) -> grpc.Future:
        return self._calls[record.signal].future(
            # Decompressed: gRPC compresses messages itself, in a format of its own.
            record.body(),
            timeout=self._timeout_seconds,
            # gRPC accepts keys in lower case only.
            metadata=[(name.lower(), value) for name, value in headers.items()],
            compression=grpc.Compression.Gzip,
        )

    def close(self) -> None:
        """Close the channel. A `send` under way returns `Retry` at once."""
        self._channel.close()

    def _judge(self, error: Any) -> Outcome:
        code, said = error.code(), plain(error.details() or "")
        place = f"{self._url} answered {code.name}"
        words = with_words("", said)
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return Retry(f"{place}: check {self._credentials.sources}{words}")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return Retry(f"{place}: it does not accept this signal; correct url or signals{words}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Retry(
                f"{self._url}: no answer within {self._timeout_seconds:g} s; "
                "check whether it is overloaded, or raise timeout_seconds"
            )
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE.search(error.details() or ""):
            return Rejected(f"{place}: the batch is too large", 413, said)
        if code in _BLAMING:
            return Rejected(f"{place}: it rejects the batch", _BLAMING[code], said)
        return Retry(f"{place}{words}", _retry_after_seconds(error))


async def _answer(call: grpc.Future) -> bytes:
    """The answer of a call under way. Raises `grpc.RpcError`."""
    loop = asyncio.get_running_loop()
    is_done = asyncio.Event()

    def wake(_: grpc.Future) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nothing waits for the answer
            loop.call_soon_threadsafe(is_done.set)

    call.add_done_callback(wake)
    try:
        await is_done.wait()
    except asyncio.CancelledError:
        # The batch may be sent again at once: this call must not arrive after it.
        call.cancel()
        raise
    answer: bytes = call.result()
    return answer


def _delivered(answer: bytes) -> Delivered:
    # The responses of all signals have the same fields on the wire.
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Delivered()
    return Delivered(max(0, partial.rejected_spans), said=plain(partial.error_message))


def _retry_after_seconds(error: Any) -> float | None:
    """The delay of the answer's RetryInfo, at most an hour; None without one."""
    for key, value in error.trailing_metadata() or ():
        # The metadata in which gRPC carries a google.rpc.Status.
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    seconds: float = info.retry_delay.ToTimedelta().total_seconds()
                    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)
        except (DecodeError, OverflowError, ValueError):
            return None
    return None
