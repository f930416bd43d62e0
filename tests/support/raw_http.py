"""HTTP over a bare socket: bytes out as the test writes them, answers split as they come."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from support.waiting import PATIENCE_SECONDS


@dataclass(frozen=True)
class RawAnswer:
    """One answer; names of headers are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RawClient:
    """One connection to a loopback port."""

    def __init__(self, port: int, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, has_body: bool = True) -> RawAnswer:
        """The next answer. Raises `EOFError` if the server closes before it is whole."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 (\d{3}) [\w -]+", first)
        assert found is not None, first
        pairs = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        status = int(found[1])
        length = int(headers["content-length"]) if has_body and status >= 200 else 0
        return RawAnswer(status, headers, self._exactly(length))

    def is_closed(self) -> bool:
        """Wait until the server closes; nothing may come before that."""
        try:
            return self._got == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        while self._receive():
            pass
        return self._got

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._got:
            if not self._receive():
                raise EOFError(self._got)
        found, _, self._got = self._got.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._got) < count:
            if not self._receive():
                raise EOFError(self._got)
        found, self._got = self._got[:count], self._got[count:]
        return found

    def _receive(self) -> bool:
        data = self.socket.recv(65536)
        self._got += data
        return bool(data)


def request(
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    length: bool = True,
) -> bytes:
    """A request as bytes, with Content-Length unless `length` is off."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(pieces: Iterable[bytes], trailers: bytes = b"") -> bytes:
    """A chunked body."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n" + trailers + b"\r\n"
