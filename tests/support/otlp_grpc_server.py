"""An OTLP/gRPC endpoint over a real socket whose answers a test decides."""

from __future__ import annotations

import threading
from concurrent import futures
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status


@dataclass(frozen=True)
class Answer:
    """What the next calls are answered; `hang` waits until the server is closed."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    body: bytes = b""
    retry_seconds: float | None = None
    hang: bool = False


@dataclass(frozen=True)
class Call:
    """What came in."""

    method: str
    body: bytes
    metadata: dict[str, str]


@dataclass
class OtlpGrpcServer:
    """Serves on a loopback port until the `with` block ends; by default gRPC's 4 MiB cap holds."""

    port: int = 0
    answer: Answer = field(default_factory=Answer)
    calls: list[Call] = field(default_factory=list)
    max_message_bytes: int = 4 * 1024 * 1024
    tls: grpc.ServerCredentials | None = None

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8),
            handlers=[_Handler(self)],
            options=[("grpc.max_receive_message_length", self.max_message_bytes)],
        )
        place = f"127.0.0.1:{self.port}"
        if self.tls is None:
            self.port = self._server.add_insecure_port(place)
        else:
            self.port = self._server.add_secure_port(place, self.tls)
        self.url = f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut everything off."""
        self._closing.set()
        self._server.stop(0).wait()

    def respond(self, method: str, body: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        self.calls.append(Call(method, body, metadata))
        answer = self.answer
        if answer.hang:
            self._closing.wait(120)
        if answer.retry_seconds is not None:
            status = Status(code=answer.code.value[0], message=answer.details)
            delay = Duration(nanos=int(answer.retry_seconds % 1 * 1e9))
            delay.seconds = int(answer.retry_seconds)
            status.details.add().Pack(RetryInfo(retry_delay=delay))
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        if answer.code is not grpc.StatusCode.OK:
            context.abort(answer.code, answer.details)
        return answer.body


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, owner: OtlpGrpcServer) -> None:
        self._owner = owner

    def service(self, details: Any) -> Any:
        method = details.method
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._owner.respond(method, body, context)
        )
