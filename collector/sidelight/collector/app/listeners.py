"""The sockets that the configured service listens on."""

from __future__ import annotations

from dataclasses import dataclass

from sidelight.base.tls.config import Tls
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.receivers.common.config import ListenerConfig
from sidelight.collector.receivers.registry import enabled


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket; port 0 means any free one.

    `key` is its place in the configuration, `title` its protocol for a person.
    `asks_for_certificate`: a sender shows a certificate of a configured CA.
    """

    key: str
    title: str
    host: str
    port: int
    tls: Tls | None

    @property
    def asks_for_certificate(self) -> bool:
        """Whether senders show a certificate of a configured CA."""
        return self.tls is not None and self.tls.client_ca is not None


def receiver_listeners(config: Config) -> list[Listener]:
    """Those of the receivers that are enabled."""
    return [
        Listener(f"receivers.{each.name}", each.title, section.host, section.port, section.tls)
        for each, section in enabled(config.receivers)
        if isinstance(section, ListenerConfig)
    ]


def listeners(config: Config) -> list[Listener]:
    """Those of the receivers, and the one of /metrics."""
    serve = config.serve
    metrics = Listener("serve", "/metrics", serve.host, serve.port, serve.tls)
    return [*receiver_listeners(config), metrics]
