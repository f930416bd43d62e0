"""Makes the sockets that a server listens on."""

from __future__ import annotations

import socket
from typing import Final

EVERY_ADDRESS: Final = "::"
"""The host that means all addresses of this machine, of IPv6 and of IPv4."""

BACKLOG: Final = 1024


def listening_socket(
    family: int, address: tuple[object, ...], *, reuse_port: bool = False
) -> socket.socket:
    """A socket that listens on an address as `getaddrinfo` gives it. Raises `OSError`."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # For a name with addresses of both kinds there are two sockets: the one of IPv6 must
            # leave IPv4 to the other. gRPC, on `::`, takes both as well.
            is_alone = address[0] != EVERY_ADDRESS
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(is_alone))
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
