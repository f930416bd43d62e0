"""The sockets that a configured service listens on."""

from __future__ import annotations

from dataclasses import dataclass

from sidelight.base.tls.config import Tls
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.receivers.common.config import ListenerConfig
from sidelight.collector.receivers.registry import enabled


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket; with port 0 the system chooses a free port.

    `key` is its place in the configuration. `title` is its protocol, for messages.
    """

    key: str
    title: str
    host: str
    port: int
    tls: Tls | None

    @property
    def asks_for_certificate(self) -> bool:
        """Whether clients must show a certificate of a configured CA."""
        return self.tls is not None and self.tls.client_ca is not None


def receiver_listeners(config: Config) -> list[Listener]:
    """The listeners of the enabled receivers."""
    return [
        Listener(f"receivers.{type_.name}", type_.title, section.host, section.port, section.tls)
        for type_, section in enabled(config.receivers)
        if isinstance(section, ListenerConfig)
    ]


def listeners(config: Config) -> list[Listener]:
    """The listeners of the enabled receivers, and the one of /metrics."""
    serve = config.serve
    metrics = Listener("serve", "/metrics", serve.host, serve.port, serve.tls)
    return [*receiver_listeners(config), metrics]
