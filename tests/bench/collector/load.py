"""The load generator, a process of its own: prepared bytes over raw sockets or gRPC.

It builds nothing while it runs: what it costs is the kernel's copy, so one core of it drives
a collector on another core to its limit. Its own CPU time is printed, to show that it was not
the limit itself.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections import deque
from pathlib import Path

import grpc

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def over_http(port: int, body: bytes, requests: int, connections: int, gzipped: bool) -> None:
    """Send `requests` requests, one under way on each connection."""
    encoding = "Content-Encoding: gzip\r\n" if gzipped else ""
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{encoding}"
        f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    message = head + body
    waiting: deque[socket.socket] = deque()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for number in range(requests):
        if number < connections:
            sock = sockets[number]
        else:
            sock = waiting.popleft()
            _answer(sock)
        sock.sendall(message)
        waiting.append(sock)
    for sock in waiting:
        _answer(sock)
    for sock in sockets:
        sock.close()


def _answer(sock: socket.socket) -> None:
    data = sock.recv(65536)
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    if b" 200 " not in data[:16]:
        raise SystemExit(f"answered {data[:200]!r}")


def over_grpc(port: int, body: bytes, requests: int, connections: int) -> None:
    """Send `requests` calls, `connections` under way at a time."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(EXPORT)
        waiting: deque[grpc.Future] = deque()
        for _ in range(requests):
            if len(waiting) >= connections:
                waiting.popleft().result(60)
            waiting.append(call.future(body, timeout=60))
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
