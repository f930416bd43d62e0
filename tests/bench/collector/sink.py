"""A backend that takes everything, a process of its own; it prints what came, on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time

import uvloop
from isal import igzip

from sidelight.base.http_server import HttpLimits, HttpRequest, HttpResponse, HttpServer
from sidelight.otlp.otlp_pb2 import Request

# A look inside costs time of the core it shares with the load generator.
_LOOK_SECONDS = 0.02
_NUMBER_BYTES = 16
# Of several resources of a request only the last one ends with it.
_NUMBER = re.compile(rb"[0-9a-f]{16}")


class Sink:
    """Counts; with `timed` it also notes, fifty times a second, when requests were due and
    how long after it they came.

    A request ends with the time at which it was due.
    """

    def __init__(self, timed: bool) -> None:
        self._timed = timed
        self._looked = 0.0
        self.requests = 0
        self.seen: list[tuple[float, float]] = []

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Take one export request."""
        self.requests += 1
        if self._timed and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            now = time.time()
            body = bytes(request.body)
            if request.headers.get("content-encoding") == "gzip":
                body = igzip.decompress(body)  # type: ignore[no-untyped-call]
            for resources in Request.FromString(body).resources:
                number = resources.SerializeToString()[-_NUMBER_BYTES:]
                if _NUMBER.fullmatch(number):
                    due = int(number, 16) / 1e9
                    self.seen.append((due, now - due))
        return HttpResponse(200)


async def main() -> None:
    """Serve until SIGTERM; the port is printed first."""
    sink = Sink(timed="--timed" in sys.argv)
    limits = HttpLimits(64 << 20, 256 << 20, 64, 60.0, 60.0, 600.0)
    server = HttpServer(sink.handle, limits)
    print(await server.start("127.0.0.1", 0), flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Who started this ends it; Ctrl-C reaches both.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    await stop.wait()
    print(json.dumps({"requests": sink.requests, "seen": sink.seen}))


if __name__ == "__main__":
    uvloop.run(main())
