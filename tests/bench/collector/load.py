"""The load generator, a process of its own: prepared bytes over raw sockets or gRPC.

It builds nothing while it runs but a number at the end of each body, whose last bytes are a
text: the same body twice would be stored once. What it costs is the kernel's copy, so one core
of it drives a collector on another core to its limit. Its own CPU time is printed, to show that
it was not the limit itself.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import socket
import time
from collections import deque
from pathlib import Path

import grpc

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


_NUMBER_BYTES = 16


def over_http(port: int, body: bytes, requests: int, connections: int, gzipped: bool) -> None:
    """Send `requests` requests, one under way on each connection."""
    encoding = "Content-Encoding: gzip\r\n" if gzipped else ""
    first = gzip.compress(body[:-_NUMBER_BYTES], 6) if gzipped else body[:-_NUMBER_BYTES]
    last = _number(0, gzipped)
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{encoding}"
        f"Content-Type: application/x-protobuf\r\nContent-Length: {len(first) + len(last)}\r\n\r\n"
    ).encode()
    message = bytearray(head + first + last)
    run = int.from_bytes(os.urandom(4), "little") << 32
    waiting: deque[socket.socket] = deque()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for number in range(requests):
        if number < connections:
            sock = sockets[number]
        else:
            sock = waiting.popleft()
            _answer(sock)
        message[-len(last) :] = _number(run + number, gzipped)
        sock.sendall(message)
        waiting.append(sock)
    for sock in waiting:
        _answer(sock)
    for sock in sockets:
        sock.close()


def _number(number: int, gzipped: bool) -> bytes:
    """As the end of a body; gzip's second member, stored, always of the same length."""
    text = f"{number:0{_NUMBER_BYTES}x}".encode()
    return gzip.compress(text, 0, mtime=0) if gzipped else text


def _answer(sock: socket.socket) -> None:
    data = sock.recv(65536)
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    if b" 200 " not in data[:16]:
        raise SystemExit(f"answered {data[:200]!r}")


def over_grpc(port: int, body: bytes, requests: int, connections: int) -> None:
    """Send `requests` calls, `connections` under way at a time."""
    run = int.from_bytes(os.urandom(4), "little") << 32
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(EXPORT)
        waiting: deque[grpc.Future] = deque()
        for number in range(requests):
            if len(waiting) >= connections:
                waiting.popleft().result(60)
            numbered = body[:-_NUMBER_BYTES] + _number(run + number, gzipped=False)
            waiting.append(call.future(numbered, timeout=60))
        for each in waiting:
            each.result(60)


def main() -> None:
    """Run once and print a JSON object: wall and own CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=("http", "grpc"))
    parser.add_argument("port", type=int)
    parser.add_argument("payload", type=Path)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--gzipped", action="store_true")
    options = parser.parse_args()
    body = options.payload.read_bytes()
    started, cpu = time.perf_counter(), time.process_time()
    if options.protocol == "http":
        over_http(options.port, body, options.requests, options.connections, options.gzipped)
    else:
        over_grpc(options.port, body, options.requests, options.connections)
    print(
        json.dumps(
            {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
        )
    )


if __name__ == "__main__":
    main()
