"""A backend that takes everything, a process of its own; it prints what came, on SIGTERM."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import sys
import time

import uvloop
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.http_server import HttpRequest, HttpResponse, HttpServer, Limits
from sidelight.collector.lens.otlp_pb2 import Request
from sidelight.collector.lens.request import count


class Sink:
    """Counts; with `timed` it also notes how long each request was under way.

    A request's first span tells when it was sent, in its start time.
    """

    def __init__(self, timed: bool) -> None:
        self._timed = timed
        self.requests = 0
        self.spans = 0
        self.delays: list[float] = []

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Take one export request."""
        self.requests += 1
        if self._timed:
            now = time.time_ns()
            body = bytes(request.body)
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            export = Request.FromString(body)
            self.spans += count(export)
            for resource in export.resources:
                first = Span.FromString(resource.scopes[0].items[0])
                self.delays.append((now - first.start_time_unix_nano) / 1e9)
        return HttpResponse(200)


async def main() -> None:
    """Serve until SIGTERM; the port is printed first."""
    sink = Sink(timed="--timed" in sys.argv)
    limits = Limits(64 << 20, 256 << 20, 64, 60.0, 60.0, 600.0)
    server = HttpServer(sink.handle, limits)
    print(await server.start("127.0.0.1", 0), flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    print(json.dumps({"requests": sink.requests, "spans": sink.spans, "delays": sink.delays}))


if __name__ == "__main__":
    uvloop.run(main())
