"""A loopback HTTP server that serves an exposition per path."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

from support.threading_server import PatientHTTPServer

# The request's Accept header in; content type and body out.
Page = Callable[[str], tuple[str, bytes]]


@contextmanager
def serve_pages(pages: Mapping[str, Page]) -> Iterator[str]:
    """Serves pages by path and gives the server's `host:port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            content_type, body = page(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # Prometheus leaves in the middle when it is stopped.
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = PatientHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
