"""The ports that workers share: chosen and held before any of them listens."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from sidelight.base.listening import refused


class Ports:
    """The addresses of all enabled receivers, held until `close`, so that they stay ours.

    A held socket does not listen, so nobody's connection ends there. Raises `ServiceError` if
    an address cannot be had; that somebody else listens there would go unnoticed otherwise,
    since a shared port is shared with every process of the same user.
    """

    def __init__(self, listeners: Mapping[str, Any]) -> None:
        self._held: list[socket.socket] = []
        self.numbers: dict[str, int] = {}
        """By receiver, for instance `otlp_http`; where it was 0 the system has chosen one."""
        try:
            for name, listener in listeners.items():
                self.numbers[name] = self._hold(name, listener["host"], listener["port"])
        except BaseException:
            self.close()
            raise

    def _hold(self, name: str, host: str, port: int) -> int:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                chosen: int = probe.getsockname()[1]
            held = socket.socket(family, socket.SOCK_STREAM)
            self._held.append(held)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((address[0], chosen, *address[2:]))
        except OSError as error:
            raise refused(error, host, port, f"receivers.{name}") from error
        return chosen

    def close(self) -> None:
        """Let others have them."""
        for each in self._held:
            each.close()
