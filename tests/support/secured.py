"""A collector whose ports speak TLS, and clients of it."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from support.certificates import Authority, Files
from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.waiting import PATIENCE_SECONDS

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True)
class Secured:
    """A collector whose ports all speak TLS, and who may come in."""

    collector: Collector
    store: OtlpStore
    authority: Authority
    server: Files
    client: Files

    @property
    def context(self) -> ssl.SSLContext:
        return self.authority.client(self.client)

    def post(self, body: bytes, context: ssl.SSLContext) -> int:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.collector.http_port, timeout=PATIENCE_SECONDS, context=context
        )
        try:
            connection.request("POST", "/v1/traces", body, PROTOBUF)
            return connection.getresponse().status
        finally:
            connection.close()

    def channel(self, client: Files | None) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(
            self.authority.certificate.read_bytes(),
            None if client is None else client.key.read_bytes(),
            None if client is None else client.certificate.read_bytes(),
        )
        return grpc.secure_channel(f"127.0.0.1:{self.collector.grpc_port}", credentials)

    def metric(self, name: str, **labels: str) -> float:
        """As `Collector.metric`, over mutual TLS."""
        _, text = self.get("/metrics", self.context)
        lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(line.split()[-1]) for line in lines if all(w in line for w in wanted))

    def get(self, path: str, context: ssl.SSLContext) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.collector.serve_port, timeout=PATIENCE_SECONDS, context=context
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def secured_settings(
    directory: Path, server: Files, ca: Path | None, **sections: Any
) -> dict[str, Any]:
    """All ports with the same certificate."""
    tls = {
        "certificate": str(server.certificate),
        "key": str(server.key),
        "client_ca": None if ca is None else str(ca),
        # More than a busy machine takes for a handshake.
        "handshake_timeout_seconds": 60,
    }
    receivers = {"otlp_http": {"port": 0, "tls": tls}, "otlp_grpc": {"port": 0, "tls": tls}}
    return settings(directory, receivers=receivers, serve={"port": 0, "tls": tls}, **sections)
