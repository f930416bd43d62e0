"""An HTTP server over a real socket whose answers, and faults, a test decides."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Literal, Self

from support.threading_server import PatientHTTPServer

Fault = Literal["hang", "no answer", "cut", "trickle"]


@dataclass(frozen=True)
class Request:
    """What came in; names of headers are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What goes out, or how it fails to.

    `hang` answers nothing for as long as the server lives, `no answer` closes without a
    word, `cut` closes in the middle of the body, `trickle` sends the answer a byte at a time
    and never ends.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    chunked: bool = False


class Backend:
    """Serves on a free loopback port until the `with` block ends."""

    def __init__(
        self,
        respond: Callable[[Request], Reply] = lambda _: Reply(),
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        date: str | None = None,
    ) -> None:
        self.respond = respond
        self.date = date
        self.requests: list[Request] = []
        self.connections: list[socket.socket] = []
        self.closing = threading.Event()
        backend = self

        class Handler(_Handler):
            owner = backend

        self._server = PatientHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and cut the connections; whatever hangs is let go."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: Backend
    protocol_version = "HTTP/1.1"
    server_version = "Backend"

    def setup(self) -> None:
        super().setup()
        self.owner.connections.append(self.connection)

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.owner.date or super().date_time_string(timestamp)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output for the test."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        names = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, names, body)
        self.owner.requests.append(request)
        reply = self.owner.respond(request)
        if reply.fault in ("hang", "no answer"):
            self.close_connection = True
            if reply.fault == "hang":
                self.owner.closing.wait()
            return
        if reply.fault == "trickle":
            self.close_connection = True
            self._trickle()
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(reply.body), reply.body))
            return
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.fault == "cut":
            self.close_connection = True
            self.wfile.write(reply.body[: len(reply.body) // 2])
        else:
            self.wfile.write(reply.body)

    def _trickle(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.owner.closing.wait(0.02):
            self.wfile.write(b"s")
