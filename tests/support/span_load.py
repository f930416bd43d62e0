"""Senders that remember the span ids of every acknowledged request, over HTTP and gRPC."""

from __future__ import annotations

import gzip
import http.client
import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.waiting import PATIENCE_SECONDS

EXPORT_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_AFTER_REFUSAL_SECONDS = 0.02
_BETWEEN_REQUESTS_SECONDS = 0.0 if "SIDELIGHT_SOAK_KILLS" in os.environ else 0.01


def new_ids(count: int) -> list[bytes]:
    """Span ids that are no others'."""
    return [os.urandom(8) for _ in range(count)]


def request_of(ids: Iterable[bytes], text: str = "x" * 200, namespace: str = "") -> bytes:
    """A serialised request with a span for each id; `namespace` is service.namespace."""
    now = time.time_ns()
    spans = []
    for span_id in ids:
        span = Span(
            trace_id=os.urandom(16),
            span_id=span_id,
            name="step",
            start_time_unix_nano=now - 1_000_000,
            end_time_unix_nano=now,
        )
        span.attributes.add(key="text").value.string_value = text
        spans.append(span)
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    if namespace:
        resource.resource.attributes.add(key="service.namespace").value.string_value = namespace
    resource.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


class SpanLoad:
    """Threads that send while the `with` block runs, and try again when refused.

    Each pauses after a request: 3 senders make some 200 requests a second, which keep a collector
    at work and leave the processors to others. With `pause_seconds` of 0, as in `make soak`, they
    send all that they can.
    """

    def __init__(
        self,
        *,
        http_port: int,
        grpc_port: int,
        http_senders: int = 2,
        grpc_senders: int = 1,
        spans_per_request: int = 20,
        text_bytes: int = 200,
        namespaces: Sequence[str] = ("",),
        pause_seconds: float = _BETWEEN_REQUESTS_SECONDS,
    ) -> None:
        self._http_port = http_port
        self._grpc_port = grpc_port
        self._spans_per_request = spans_per_request
        self._text_bytes = text_bytes
        self._namespaces = namespaces
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.acknowledged: set[bytes] = set()
        self.failures: list[str] = []  # what each refused request was told
        senders = [self._send_http] * http_senders + [self._send_grpc] * grpc_senders
        self._threads = [threading.Thread(target=each, daemon=True) for each in senders]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every sender finish its request."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _done(self, ids: list[bytes], failure: str = "") -> None:
        with self._lock:
            if failure:
                self.failures.append(failure)
            else:
                self.acknowledged.update(ids)
        time.sleep(_AFTER_REFUSAL_SECONDS if failure else self._pause_seconds)

    def _request(self, ids: list[bytes]) -> bytes:
        namespace = self._namespaces[ids[0][0] % len(self._namespaces)]
        return request_of(ids, os.urandom(self._text_bytes // 2).hex(), namespace)

    def _send_http(self) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._http_port, timeout=PATIENCE_SECONDS
        )
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        while not self._stop.is_set():
            ids = new_ids(self._spans_per_request)
            body = gzip.compress(self._request(ids), 1)
            text = b""
            try:
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                status = answer.status
                with suppress(OSError, http.client.HTTPException):
                    text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._done(ids, f"HTTP: {error!r}")
            else:
                self._done(ids, "" if status == 200 else f"HTTP: {status} {text!r}")
        connection.close()

    def _send_grpc(self) -> None:
        options = [
            ("grpc.initial_reconnect_backoff_ms", 50),
            # Despite its name: how long one attempt to connect may take.
            ("grpc.min_reconnect_backoff_ms", 10_000),
            ("grpc.max_reconnect_backoff_ms", 100),
        ]
        with grpc.insecure_channel(f"127.0.0.1:{self._grpc_port}", options=options) as channel:
            export = channel.unary_unary(
                EXPORT_TRACES, response_deserializer=ExportTraceServiceResponse.FromString
            )
            while not self._stop.is_set():
                ids = new_ids(self._spans_per_request)
                try:
                    export(self._request(ids), timeout=PATIENCE_SECONDS)
                except grpc.RpcError as error:
                    self._done(ids, f"gRPC: {error}")
                else:
                    self._done(ids)
