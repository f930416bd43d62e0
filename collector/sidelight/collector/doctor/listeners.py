"""The sockets the configured service listens on."""

from __future__ import annotations

from dataclasses import dataclass

from sidelight.base.tls.config import Tls
from sidelight.collector.app.configuration.config import Config


@dataclass(frozen=True, slots=True)
class Listener:
    """`key` is its place in the configuration; port 0 means any free one.

    `is_guarded`: who comes in shows a token, a key pair or a certificate.
    """

    key: str
    host: str
    port: int
    is_guarded: bool = False


def listeners(config: Config) -> list[Listener]:
    """Those that are enabled."""
    receive, serve = config.receive, config.serve
    has_tokens = bool(receive.tokens or receive.langfuse.keys)
    found = [
        Listener(key, section.host, section.port, has_tokens or _asks_for_certificates(section.tls))
        for key, section in (
            ("receive.otlp_http", receive.otlp_http),
            ("receive.otlp_grpc", receive.otlp_grpc),
        )
        if section.enabled
    ]
    is_guarded = bool(serve.tokens) or _asks_for_certificates(serve.tls)
    return [*found, Listener("serve", serve.host, serve.port, is_guarded)]


def _asks_for_certificates(tls: Tls | None) -> bool:
    return tls is not None and tls.client_ca is not None
