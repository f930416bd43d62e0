"""Reserves the ports that workers share, before any worker listens."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from sidelight.base.listening import refused


class Ports:
    """Bound sockets for the addresses of all enabled receivers, which reserve them until `close`.

    The sockets do not listen, so they get no connections. Raises `ServiceError` if an address
    is not available. Without this, another process on the port would go unnoticed: a shared
    port is shared with every process of the same user.
    """

    def __init__(self, listeners: Mapping[str, Any]) -> None:
        self._sockets: list[socket.socket] = []
        self.numbers: dict[str, int] = {}
        """Ports by receiver, for instance `otlp_http`. For 0 the port that the system chose."""
        try:
            for name, listener in listeners.items():
                self.numbers[name] = self._reserve(name, listener["host"], listener["port"])
        except BaseException:
            self.close()
            raise

    def _reserve(self, name: str, host: str, port: int) -> int:
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, address = addresses[0]
            # Without SO_REUSEPORT: this bind fails if another process uses the port.
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                chosen: int = probe.getsockname()[1]
            reserved = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append(reserved)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind((address[0], chosen, *address[2:]))
        except OSError as error:
            raise refused(error, host, port, f"receivers.{name}") from error
        return chosen

    def close(self) -> None:
        """Release the ports."""
        for reserved in self._sockets:
            reserved.close()
