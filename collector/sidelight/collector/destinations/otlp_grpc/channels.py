"""gRPC channels to one server: built from proxy and certificates, and again when these change."""

from __future__ import annotations

import os
import threading
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import grpc

from sidelight.base.http_client.client import MAX_ANSWER_BYTES
from sidelight.base.http_client.proxy import proxy_for
from sidelight.base.tls.client import check_files
from sidelight.base.tls.watched import Stamp, stamp
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.otlp.signals import Signal

METHODS: dict[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_OPTIONS: tuple[tuple[str, object], ...] = (
    ("grpc.primary_user_agent", f"sidelight/{version('sidelight')}"),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)


class Channel:
    """A channel, and its calls by signal. Each `with` block is a call under way."""

    def __init__(self, config: OtlpGrpcDestination, ca: Path | None) -> None:
        """Blocks. Raises `ProxySettingError` and `OSError`."""
        options = (*_OPTIONS, *_proxy_options(config))
        parts = urlsplit(config.url)
        # 4317 is OTLP's port for gRPC.
        place = parts.netloc if parts.port else f"{parts.netloc}:4317"
        pair = config.client_certificate
        self._channel = (
            grpc.secure_channel(
                place,
                grpc.ssl_channel_credentials(
                    None if ca is None else ca.read_bytes(),
                    None if pair is None else pair.key.read_bytes(),
                    None if pair is None else pair.certificate.read_bytes(),
                ),
                options,
            )
            if parts.scheme == "https"
            else grpc.insecure_channel(place, options)
        )
        self.calls = {
            signal: self._channel.unary_unary(METHODS[signal]) for signal in config.signals
        }
        self._lock = threading.Lock()
        self._under_way = 0
        self._is_retired = False

    def __enter__(self) -> Self:
        with self._lock:
            self._under_way += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._under_way -= 1
            is_last = self._is_retired and not self._under_way
        if is_last:
            self._channel.close()

    def retire(self) -> None:
        """Close it once no call is under way."""
        with self._lock:
            self._is_retired = True
            is_idle = not self._under_way
        if is_idle:
            self._channel.close()

    def close(self) -> None:
        """Close it at once; calls under way fail."""
        self._channel.close()


class Channels:
    """The channel of one destination. It is built again once a file of certificates has changed."""

    def __init__(self, config: OtlpGrpcDestination) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._stamps: list[Stamp] = []
        self._is_closed = False

    def current(self) -> Channel:
        """The channel for the next call; blocks on the disk.

        Raises `ProxySettingError`, `TlsFileError`, and `ValueError` after `close`.
        """
        with self._lock:
            if self._is_closed:
                raise ValueError("closed")
            ca = self._ca()
            # Before reading: a change in between is then seen the next time.
            stamps = [stamp(path) for path in self._files(ca)]
            if self._channel is not None and stamps == self._stamps:
                return self._channel
            if urlsplit(self._config.url).scheme == "https":
                # gRPC takes any bytes for a certificate, and fails later without a cause.
                check_files(ca, self._config.client_certificate)
            channel = Channel(self._config, ca)
            if self._channel is not None:
                self._channel.retire()
            self._channel, self._stamps = channel, stamps
            return channel

    def close(self) -> None:
        """Close the channel. Calls under way fail at once."""
        with self._lock:
            self._is_closed = True
            if self._channel is not None:
                self._channel.close()

    def _ca(self) -> Path | None:
        """The authorities: those of HTTP destinations, if they are in one file."""
        if self._config.ca is not None:
            return self._config.ca
        path = os.environ.get("SSL_CERT_FILE")
        # gRPC has roots of its own, and a variable that names others.
        return Path(path) if path and "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" not in os.environ else None

    def _files(self, ca: Path | None) -> list[Path]:
        if urlsplit(self._config.url).scheme != "https":
            return []
        pair = self._config.client_certificate
        files = [ca, *((pair.certificate, pair.key) if pair is not None else ())]
        return [path for path in files if path is not None]


def _proxy_options(config: OtlpGrpcDestination) -> tuple[tuple[str, object], ...]:
    """gRPC's options for the proxy, chosen as for HTTP destinations.

    gRPC's own rule would use the proxy for loopback addresses as well.

    Raises `ProxySettingError`.
    """
    proxy = proxy_for(config.url, os.environ, config.proxy_url())
    if proxy is None:
        return (("grpc.enable_http_proxy", 0),)
    return (("grpc.http_proxy", proxy.url),)
