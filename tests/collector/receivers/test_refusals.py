"""Every refusal of every receiver is counted once, with its cause, and operators are told."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator

import grpc
import pytest

from support.collector import Collector, fetch, settings
from support.ports import free_port
from support.raw_http import RawClient
from support.span_load import EXPORT_TRACES, new_ids, request_of
from support.waiting import PATIENCE_SECONDS, eventually

TOKEN = {"Authorization": "Bearer a-token-of-senders"}
JSON = {"Content-Type": "application/json"}
ZIPPED = {"Content-Encoding": "gzip"}
MAX_BYTES = 4096


class Refusing:
    """A collector with small limits and tokens, and what it has counted."""

    def __init__(self, collector: Collector, zipkin_port: int) -> None:
        self.collector = collector
        self._zipkin = f"http://127.0.0.1:{zipkin_port}/api/v2/spans"

    def counted(self) -> Counter[str]:
        """Refusals by signal and reason."""
        _, text = self.collector.get("/metrics")
        counts: Counter[str] = Counter()
        for line in text.splitlines():
            if line.startswith("sidelight_collector_refused_total{"):
                labels, _, value = line.partition("{")[2].rpartition("} ")
                signal, reason = (pair.split("=")[1].strip('"') for pair in labels.split(","))
                counts[f"{signal} {reason}"] = int(float(value))
        return counts

    def http(self, body: bytes, path: str = "/v1/traces", **headers: str) -> int:
        """The status of a POST to OTLP/HTTP."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.collector.post(body, path, {**TOKEN, **named})[0]

    def zipkin(self, body: bytes, **headers: str) -> int:
        """The status of a POST to Zipkin."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return fetch(self._zipkin, body, {**TOKEN, **JSON, **named}, PATIENCE_SECONDS)[0]

    def grpc(self, body: bytes, token: str = "a-token-of-senders") -> str:
        """The status of a call over gRPC."""
        options = [("grpc.max_send_message_length", -1)]
        address = f"127.0.0.1:{self.collector.grpc_port}"
        with grpc.insecure_channel(address, options=options) as channel:
            try:
                channel.unary_unary(EXPORT_TRACES)(
                    body, timeout=PATIENCE_SECONDS, metadata=[("authorization", f"Bearer {token}")]
                )
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

    def raw(self, data: bytes) -> int:
        """The status of bytes sent to the port of OTLP/HTTP."""
        with RawClient(self.collector.http_port) as client:
            client.send(data)
            return client.answer().status


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    directory = tmp_path_factory.mktemp("refusing")
    config = settings(directory, auth={"tokens": [{"env": "TOKENS"}]})
    limits = {"max_body_bytes": MAX_BYTES, "max_decompressed_bytes": MAX_BYTES}
    config["receivers"]["otlp_http"] |= {**limits, "body_timeout_seconds": 2.0}
    config["receivers"]["otlp_grpc"] |= {"max_message_bytes": MAX_BYTES}
    port = free_port()
    config["receivers"]["zipkin"] = {"enabled": True, "port": port, **limits}
    with Collector(config, directory, env={"TOKENS": "a-token-of-senders"}) as collector:
        yield Refusing(collector, port)


_BOMB = gzip.compress(bytes(10 * MAX_BYTES))
_LARGE = bytes(2 * MAX_BYTES)
_HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a-token-of-senders\r\n"
Case = tuple[Callable[[Refusing], object], object, str]
CASES: dict[str, Case] = {
    "http, no token": (lambda r: r.http(b"", Authorization="x"), 401, "traces unauthorized"),
    "http, logs": (
        lambda r: r.http(b"", "/v1/logs", Authorization="Bearer x"),
        401,
        "logs unauthorized",
    ),
    "http, not protobuf": (lambda r: r.http(b"\xff"), 400, "traces malformed"),
    "http, not JSON": (lambda r: r.http(b"{", **JSON), 400, "traces malformed"),
    "http, not gzip": (lambda r: r.http(b"x", **ZIPPED), 400, "traces malformed"),
    "http, project": (lambda r: r.http(b"", x_project_name="x" * 300), 400, "traces malformed"),
    "http, large": (lambda r: r.http(_LARGE), 413, "traces too_large"),
    "http, large chunks": (
        lambda r: r.raw(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2000\r\n" + bytes(0x2000)),
        413,
        "traces too_large",
    ),
    "http, bomb": (lambda r: r.http(_BOMB, "/v1/metrics", **ZIPPED), 413, "metrics too_large"),
    "http, type": (lambda r: r.http(b"", Content_Type="text/plain"), 415, "traces unsupported"),
    "http, encoding": (lambda r: r.http(b"", Content_Encoding="br"), 415, "traces unsupported"),
    "http, late": (lambda r: r.raw(_HEAD + b"Content-Length: 9\r\n\r\n"), 408, "traces timeout"),
    "http, no host": (
        lambda r: r.raw(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        400,
        "traces malformed",
    ),
    "http, head": (
        lambda r: r.raw(_HEAD + b"X: " + bytes([120]) * 40_000 + b"\r\n\r\n"),
        431,
        "traces too_large",
    ),
    "http, garbage": (lambda r: r.raw(b"\0" * 50), 400, "unknown malformed"),
    "langfuse, not protobuf": (
        lambda r: r.http(b"\xff", "/api/public/otel/v1/traces"),
        400,
        "traces malformed",
    ),
    "langfuse, large": (
        lambda r: r.http(_LARGE, "/api/public/otel/v1/traces"),
        413,
        "traces too_large",
    ),
    "langfuse, no token": (
        lambda r: r.http(b"", "/api/public/otel/v1/traces", Authorization="x"),
        401,
        "traces unauthorized",
    ),
    "zipkin, no token": (lambda r: r.zipkin(b"[]", Authorization="x"), 401, "traces unauthorized"),
    "zipkin, not JSON": (lambda r: r.zipkin(b"["), 400, "traces malformed"),
    "zipkin, not gzip": (lambda r: r.zipkin(b"x", **ZIPPED), 400, "traces malformed"),
    "zipkin, bomb": (lambda r: r.zipkin(_BOMB, **ZIPPED), 413, "traces too_large"),
    "zipkin, large": (lambda r: r.zipkin(_LARGE), 413, "traces too_large"),
    "zipkin, type": (lambda r: r.zipkin(b"", Content_Type="a/b"), 415, "traces unsupported"),
    "grpc, no token": (lambda r: r.grpc(b"", "x"), "UNAUTHENTICATED", "traces unauthorized"),
    "grpc, not protobuf": (lambda r: r.grpc(b"\xff"), "INVALID_ARGUMENT", "traces malformed"),
    "grpc, large": (lambda r: r.grpc(_LARGE), "RESOURCE_EXHAUSTED", "traces too_large"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_is_counted_once_with_its_cause(refusing: Refusing, case: Case) -> None:
    """The HTTP server, gRPC's library, the receiver or the intake may refuse."""
    send, answer, cause = case
    before = refusing.counted()
    assert send(refusing) == answer
    eventually(lambda: refusing.counted() - before == Counter({cause: 1}))


def test_what_brings_no_data_is_not_counted(refusing: Refusing) -> None:
    """A wrong path or method is a request, and no data is refused with it."""
    before = refusing.counted()
    assert refusing.http(b"", "/nowhere") == 404
    assert refusing.http(request_of(new_ids(1))) == 200
    assert refusing.zipkin(json.dumps([]).encode()) == 202
    assert refusing.counted() == before


def test_each_cause_is_logged_once_a_minute(refusing: Refusing) -> None:
    """With what it was and how many; a faulty sender cannot fill the log."""
    for _ in range(20):
        refusing.http(b"\xff", "/v1/logs")
    lines = [line for line in refusing.collector.messages if line.startswith("refused logs (malf")]
    assert len(lines) == 1
