"""Opens connections: looks up names, tries each address in turn, tunnels through proxies."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.answer import AnswerReader, NotHttpError
from sidelight.base.http_client.failure import ProxyAnswerError
from sidelight.base.http_client.origin import Origin
from sidelight.base.http_client.proxy import Proxy

_READ_BYTES = 16 * 1024


async def connect(host: str, port: int, ends_at: float) -> socket.socket:
    """A socket connected to the first address that accepts.

    Each address gets an equal share of the time left until `ends_at` (the loop's time), so that
    an address that drops packets leaves time for the next. Raises the `OSError` of the address
    tried last.
    """
    loop = asyncio.get_running_loop()
    addresses = await _resolve(host, port)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        share = (ends_at - loop.time()) / (len(addresses) - position)
        try:
            async with asyncio.timeout(share):
                return await _connect_to(address, family, kind, protocol)
        except OSError as error:
            failure = error
    raise failure


async def _connect_to(
    address: tuple[object, ...], family: int, kind: int, protocol: int
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        # Nagle's algorithm would hold back the end of a request until the backend acknowledges
        # its beginning: 40 ms with delayed acknowledgements.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


_Addresses = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]


async def _resolve(host: str, port: int) -> _Addresses:
    """The addresses of a host.

    Not by the loop's own getaddrinfo: a resolver that hangs would occupy the threads of its
    pool, which the disk needs, and keep the process from exiting.
    """
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        try:
            return list(look_up(flags=socket.AI_NUMERICHOST))
        except socket.gaierror:  # a name, not an address
            return list(await run_in_thread(look_up, "sidelight-resolver"))
    except UnicodeError:  # a label of the name is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "the host is not a valid name") from None


async def tunnel(sock: socket.socket, proxy: Proxy, target: Origin) -> None:
    """Ask the proxy that `sock` is connected to for a tunnel to `target`.

    Raises `OSError`, `NotHttpError` and `ProxyAnswerError`.
    """
    loop = asyncio.get_running_loop()
    authorization = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    request = f"CONNECT {target.place} HTTP/1.1\r\nHost: {target.place}\r\n{authorization}\r\n"
    await loop.sock_sendall(sock, request.encode("latin-1"))
    reader = AnswerReader(0)
    # Nothing arrives after the head of the answer: in TLS the client speaks first.
    while reader.status is None:
        received = await loop.sock_recv(sock, _READ_BYTES)
        if not received:
            raise ConnectionResetError("the proxy closed the connection")
        reader.feed(memoryview(received))
    if reader.status == 101:
        raise NotHttpError("the proxy switches to another protocol")
    if not 200 <= reader.status < 300:
        raise ProxyAnswerError(reader.status)
