"""The load generator, a process of its own: prepared bytes over raw sockets or gRPC.

It sends the requests of a file in turn and builds nothing while it runs but a number at the end of
each body, whose last bytes are a text: the same body twice would be stored once. The number is the
time in ns at which the request was due, so that a backend can tell how long it was under way. With
a rate, requests are due on a schedule whatever the collector does (an open loop); without one, a
connection sends its next request when the last was answered. Its own CPU time is printed, to show
that it was not the limit itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import select
import signal
import socket
import statistics
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import grpc

from bench.collector.framing import read_framed

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_NUMBER_BYTES = 16
_PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Tally:
    """What became of the requests; times in seconds."""

    delays: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What one run sent, how soon it was acknowledged, and what it cost the generator.

    Delays count from when a request was due, so that what waits for a free connection counts
    too. `late_p99_ms` is how late the generator was where a connection was free.
    """

    seconds: float
    cpu_seconds: float
    acknowledged: int
    refused: int
    p50_ms: float
    p99_ms: float
    late_p99_ms: float


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99; of fewer than a hundred values the latter is nearly the largest."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


class _Plain:
    """A body, and its end with a number in it."""

    def __init__(self, body: bytes) -> None:
        self.first = body[:-_NUMBER_BYTES]

    def last(self, number: int) -> bytes:
        """Always of the same length."""
        return f"{number:0{_NUMBER_BYTES}x}".encode()


class _Gzipped:
    """The same as one gzip member (RFC 1952): the number is a stored block of its own."""

    _HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    _LAST_BLOCK = b"\x01" + struct.pack("<HH", _NUMBER_BYTES, _NUMBER_BYTES ^ 0xFFFF)

    def __init__(self, body: bytes) -> None:
        self._plain = _Plain(body)
        self._checksum = zlib.crc32(self._plain.first)
        self._size = len(body)
        deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        # A full flush ends at a whole byte.
        deflated = deflate.compress(self._plain.first) + deflate.flush(zlib.Z_FULL_FLUSH)
        self.first = self._HEADER + deflated

    def last(self, number: int) -> bytes:
        """Always of the same length."""
        text = self._plain.last(number)
        checksum = zlib.crc32(text, self._checksum)
        return self._LAST_BLOCK + text + struct.pack("<II", checksum, self._size)


class _Connection:
    """One request under way at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._message = memoryview(b"")
        self._tail = memoryview(b"")
        self._sent = 0
        self._sock = self._connect()
        self.due = 0.0

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        return sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def start(self, message: bytes, tail: bytes, due: float) -> bool:
        self._message, self._tail = memoryview(message), memoryview(tail)
        self._sent, self.due = 0, due
        return self.push()

    def push(self) -> bool:
        """Send what the socket takes; whether that was all."""
        message, tail = self._message, self._tail
        size = len(message)
        try:
            if self._sent < size:
                self._sent += self._sock.sendmsg([message[self._sent :], tail])
            else:
                self._sent += self._sock.send(tail[self._sent - size :])
        except BlockingIOError:
            return False
        return self._sent == size + len(tail)

    def pull(self) -> bool:
        """Read the answer, which comes in one piece; whether it is 200."""
        data = self._sock.recv(65536)
        if data.startswith(b"HTTP/1.1 200 "):
            return True
        if not data.startswith(b"HTTP/1.1 "):
            raise SystemExit(f"answered {data[:200]!r}")
        # A refusal has a body and may end the connection.
        self._sock.close()
        self._sock = self._connect()
        return False

    def close(self) -> None:
        self._sock.close()


def over_http(
    port: int, bodies: Sequence[bytes], due_times: Iterator[float], connections: int, gzipped: bool
) -> Tally:
    """Send each request when it is due and a connection is free, one under way on each."""
    following = itertools.cycle([_message(port, body, gzipped=gzipped) for body in bodies])
    tally = Tally()
    free = deque(_Connection(port) for _ in range(connections))
    everybody = tuple(free)
    sending: set[_Connection] = set()
    awaiting: set[_Connection] = set()
    epoch = time.time() - time.perf_counter()
    free_since = time.perf_counter()
    due = next(due_times, None)
    while due is not None or sending or awaiting:
        while due is not None and free and (now := time.perf_counter()) >= due:
            if due >= free_since:
                tally.lateness.append(now - due)
            connection = free.popleft()
            message, prepared = next(following)
            tail = prepared.last(int((epoch + due) * 1e9))
            (awaiting if connection.start(message, tail, due) else sending).add(connection)
            # Without a rate, a request is due when it is asked for: not before it can go.
            due = next(due_times, None) if free else math.inf
        patience = _PATIENCE_SECONDS
        if due is not None and free:
            patience = max(0.0, due - time.perf_counter())
        readable, writable, _ = select.select(awaiting, sending, (), patience)
        for connection in writable:
            if connection.push():
                sending.remove(connection)
                awaiting.add(connection)
        for connection in readable:
            if connection.pull():
                tally.delays.append(time.perf_counter() - connection.due)
            else:
                tally.refused += 1
            awaiting.remove(connection)
            if not free:
                free_since = time.perf_counter()
            free.append(connection)
        if due == math.inf and free:
            due = next(due_times, None)
        if patience == _PATIENCE_SECONDS and not readable and not writable:
            raise SystemExit(f"no answer for {_PATIENCE_SECONDS:.0f} s")
    for connection in everybody:
        connection.close()
    return tally


def _message(port: int, body: bytes, *, gzipped: bool) -> tuple[bytes, _Plain | _Gzipped]:
    """A request up to its number, and what makes its end."""
    prepared = _Gzipped(body) if gzipped else _Plain(body)
    encoding = "Content-Encoding: gzip\r\n" if gzipped else ""
    length = len(prepared.first) + len(prepared.last(0))
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{encoding}"
        f"Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode() + prepared.first, prepared


def over_grpc(
    port: int, bodies: Sequence[bytes], due_times: Iterator[float], connections: int
) -> Tally:
    """Send each call when it is due, at most `connections` under way, over one connection."""
    tally = Tally()
    following = itertools.cycle([_Plain(body) for body in bodies])
    # Each call takes a slot after it began, so that none is due while it waits for another.
    slots = threading.Semaphore(connections - 1)

    def answered(due: float, call: grpc.Future) -> None:
        if call.code() is grpc.StatusCode.OK:
            tally.delays.append(time.perf_counter() - due)
        else:
            tally.refused += 1
        slots.release()

    epoch = time.time() - time.perf_counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        export = channel.unary_unary(EXPORT)
        for due in due_times:
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            prepared = next(following)
            numbered = prepared.first + prepared.last(int((epoch + due) * 1e9))
            call = export.future(numbered, timeout=_PATIENCE_SECONDS)
            call.add_done_callback(partial(answered, due))
            slots.acquire()
        for _ in range(connections - 1):
            slots.acquire()
    return tally


def schedule(
    *, requests: int | None, seconds: float | None, per_second: float | None
) -> Iterator[float]:
    """When each request is due, as `time.perf_counter()` tells it; never the same twice.

    Ends with the first of both limits. Without a rate a request is due when it is asked for.
    """
    begin = time.perf_counter()
    last = -math.inf
    number = 0
    while requests is None or number < requests:
        now = time.perf_counter()
        if seconds is not None and now - begin >= seconds:
            return
        due = now if per_second is None else begin + number / per_second
        if seconds is not None and due - begin >= seconds:
            return
        last = max(due, last + 1e-6)
        yield last
        number += 1


def main() -> None:
    """Run once and print a `Load` as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=("http", "grpc"))
    parser.add_argument("port", type=int)
    parser.add_argument("payload", type=Path)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=float, help="requests a second; none: as fast as it goes")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--gzipped", action="store_true")
    options = parser.parse_args()
    if options.requests is None and options.seconds is None:
        parser.error("give --requests or --seconds")
    # Who started this ends it; Ctrl-C reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bodies = read_framed(options.payload.read_bytes())
    started, cpu = time.perf_counter(), time.process_time()
    due_times = schedule(
        requests=options.requests, seconds=options.seconds, per_second=options.rate
    )
    if options.protocol == "http":
        tally = over_http(options.port, bodies, due_times, options.connections, options.gzipped)
    else:
        tally = over_grpc(options.port, bodies, due_times, options.connections)
    p50, p99 = percentiles(tally.delays)
    load = Load(
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu,
        acknowledged=len(tally.delays),
        refused=tally.refused,
        p50_ms=p50 * 1e3,
        p99_ms=p99 * 1e3,
        late_p99_ms=percentiles(tally.lateness)[1] * 1e3,
    )
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
