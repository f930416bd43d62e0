"""Backends that store span ids and fail in every way that a destination can, over HTTP and gRPC.

Both stand in for Langfuse, Phoenix and gateways in trouble, as tests cannot make real ones fail so
often. They change their ways several times a second, reject what is too large for them in words of
their own, and never accept a batch with a bad span.
"""

from __future__ import annotations

import gzip
import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.backend import Reply, Request
from support.otlp_grpc_server import OtlpGrpcServer
from support.span_store import SpanStore

MAX_BODY_BYTES = 12_000
MAX_MESSAGE_BYTES = 16_000
_PHASE_SECONDS = 0.4
_WORKS = "works"
# More than the destinations' timeout, which is a second.
_HANG_SECONDS = 1.5

_REPLIES = {
    "misconfigured": Reply(400, b"Client sent an HTTP request to an HTTPS server."),
    "another version": Reply(426),
    "moved": Reply(302, headers={"Location": "https://elsewhere.example/"}),
    "no keys": Reply(401),
    "broken": Reply(500, b"a fault"),
    "overloaded": Reply(503, headers={"Retry-After": "1"}),
    "resets": Reply(fault="no answer"),
}
_CODES = {
    "misconfigured": grpc.StatusCode.UNIMPLEMENTED,
    "another version": grpc.StatusCode.INVALID_ARGUMENT,
    "broken": grpc.StatusCode.INTERNAL,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "resets": grpc.StatusCode.UNAVAILABLE,
}
# By the third byte of the bad span's id.
_BAD_REPLIES = (Reply(500), Reply(400), Reply(403), Reply(fault="no answer"))
_BAD_CODES = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def is_bad(span_id: bytes) -> bool:
    """Whether the backends reject the span: one of 4,096 random ids."""
    return span_id[0] == 0 and span_id[1] < 16


class _Moods:
    """What the backend does now; half of the time it works."""

    def __init__(self, ways: Iterable[str]) -> None:
        self._ways = [*ways, "slow", "hangs"]
        self.is_calm = False
        """Only bad spans and large bodies fail."""

    def now(self) -> str:
        chance = random.Random(int(time.monotonic() / _PHASE_SECONDS))
        if self.is_calm or chance.random() < 0.5:
            return _WORKS
        return chance.choice(self._ways)

    def wait(self) -> str:
        """As `now`, after the time that it takes."""
        mood = self.now()
        if mood == "slow":
            time.sleep(0.2)
        elif mood == "hangs":
            time.sleep(_HANG_SECONDS)
        return mood


def _ids(body: bytes) -> list[bytes]:
    export = ExportTraceServiceRequest.FromString(body)
    return [
        span.span_id
        for resource in export.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


class FailingStore(SpanStore):
    """Stores what arrives over HTTP while it works."""

    def __init__(self) -> None:
        self.moods = _Moods(_REPLIES)
        super().__init__(refuse=self._refuse)

    def _refuse(self, request: Request) -> Reply | None:
        mood = self.moods.wait()
        if mood in _REPLIES:
            return _REPLIES[mood]
        ids = _ids(gzip.decompress(request.body))
        if len(request.body) > MAX_BODY_BYTES and len(ids) > 1:
            # Some servers say so, and some hang up.
            return Reply(413) if ids[0][0] % 2 else Reply(fault="no answer")
        bad = next((span_id for span_id in ids if is_bad(span_id)), None)
        return None if bad is None else _BAD_REPLIES[bad[2] % len(_BAD_REPLIES)]


class FailingGrpcStore(OtlpGrpcServer):
    """Stores what arrives over gRPC while it works."""

    def __post_init__(self) -> None:
        self.moods = _Moods(_CODES)
        self.ids: Counter[bytes] = Counter()
        super().__post_init__()

    def respond(self, method: str, body: bytes, context: Any) -> bytes:
        """Store the spans, or fail."""
        mood = self.moods.wait()
        ids = _ids(body)
        bad = next((span_id for span_id in ids if is_bad(span_id)), None)
        code = _CODES.get(mood)
        if code is None and len(body) > MAX_MESSAGE_BYTES and len(ids) > 1:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
        if code is None and bad is not None:
            code = _BAD_CODES[bad[2] % len(_BAD_CODES)]
        if code is not None:
            context.abort(code, "in words of its own")
        self.ids.update(ids)
        return b""
