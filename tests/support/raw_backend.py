"""A port that answers with given bytes, however little they are HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Serve = Callable[[socket.socket], None]


@contextmanager
def raw_backend(*answers: bytes) -> Iterator[str]:
    """Every connection gets all of `answers`, one for each read, and is then closed.

    What of a large request was not read by then makes the kernel reset the connection.
    """

    def serve(connection: socket.socket) -> None:
        for answer in answers:
            if not connection.recv(65536):
                return
            connection.sendall(answer)

    with serving(serve) as url:
        yield url


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """Every connection is served by `serve`, one after the other, and closed."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
