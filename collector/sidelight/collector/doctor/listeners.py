"""The sockets the configured service listens on."""

from __future__ import annotations

from dataclasses import dataclass

from sidelight.collector.config import Config


@dataclass(frozen=True, slots=True)
class Listener:
    """`key` is its place in the configuration; port 0 means any free one."""

    key: str
    host: str
    port: int


def listeners(config: Config) -> list[Listener]:
    """Those that are enabled."""
    receive = config.receive
    found = [
        Listener(key, section.host, section.port)
        for key, section in (
            ("receive.otlp_http", receive.otlp_http),
            ("receive.otlp_grpc", receive.otlp_grpc),
        )
        if section.enabled
    ]
    return [*found, Listener("serve", config.serve.host, config.serve.port)]
