"""Receives OTLP over gRPC. Requests stay raw bytes: decoding them here would be wasted."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from sidelight.base.listening import bind, connections
from sidelight.collector.ingest.intake import Intake, UnavailableError
from sidelight.collector.metrics.instruments import Counter
from sidelight.collector.receivers.common.admission import (
    AUTHORIZATION,
    PROJECT_HEADER,
    Admission,
    NotAdmittedError,
    ProjectError,
    stamp,
)
from sidelight.collector.receivers.common.type import Load, ReceiverContext
from sidelight.collector.receivers.otlp_grpc.config import OtlpGrpc
from sidelight.collector.receivers.otlp_grpc.tls import credentials_of
from sidelight.collector.receivers.otlp_http.encoding import response
from sidelight.otlp.request import MalformedError
from sidelight.otlp.signals import Signal
from sidelight.otlp.stamp import Stamp

_logger = logging.getLogger(__name__)

_SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}
_SECTION: Final = "receivers.otlp_grpc"
MAX_CONNECTIONS: Final = 1024
# gRPC's default is 120 s, in which a silent client keeps its connection.
_HANDSHAKE_SECONDS: Final = 10.0
# The metadata in which gRPC carries a google.rpc.Status.
_DETAILS_KEY: Final = "grpc-status-details-bin"


class _Export:
    """The Export method of one signal's service."""

    def __init__(self, signal: Signal, intake: Intake, requests: Counter) -> None:
        self.signal = signal
        self._intake = intake
        self._requests = requests

    def handler(self, stamp: Stamp | None) -> grpc.RpcMethodHandler:
        """The method for a call whose resources get `stamp`."""
        return grpc.unary_unary_rpc_method_handler(
            partial(self._export, stamp),
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def _export(
        self, stamp: Stamp | None, body: bytes, context: grpc.aio.ServicerContext
    ) -> Message:
        try:
            receipt = await self._intake.accept(self.signal, body, stamp)
        except MalformedError as error:
            self._count(grpc.StatusCode.INVALID_ARGUMENT)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnavailableError as error:
            code = (
                grpc.StatusCode.RESOURCE_EXHAUSTED if error.is_busy else grpc.StatusCode.UNAVAILABLE
            )
            self._count(code)
            # By the OTLP specification, clients retry RESOURCE_EXHAUSTED only with RetryInfo.
            details = _retry_details(code, str(error), error.retry_after_seconds)
            await context.abort(code, str(error), ((_DETAILS_KEY, details),))
        except Exception:
            # gRPC would send the exception's message, which may quote content of other senders.
            _logger.exception("gRPC Export of %s failed", self.signal)
            self._count(grpc.StatusCode.INTERNAL)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error, see the collector's log")
        self._count(grpc.StatusCode.OK)
        return response(self.signal, receipt.rejected, receipt.reason)

    def _count(self, code: grpc.StatusCode) -> None:
        self._requests.labels("grpc", code.name).inc()


def _retry_details(code: grpc.StatusCode, message: str, seconds: int) -> bytes:
    status = Status(code=code.value[0], message=message)
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    serialised: bytes = status.SerializeToString()
    return serialised


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the method of a call. Refuses unknown senders before their message is read."""

    def __init__(self, exports: Sequence[_Export], admission: Admission, requests: Counter) -> None:
        self._exports = {f"/{_SERVICES[export.signal]}/Export": export for export in exports}
        self._handlers = {method: export.handler(None) for method, export in self._exports.items()}
        self._admission = admission
        self._requests = requests

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        export = self._exports.get(details.method)
        if export is None:
            return None
        headers = dict(details.invocation_metadata)
        try:
            identity = self._admission.identify("grpc", headers.get(AUTHORIZATION))
            resource_stamp = stamp(export.signal, identity, headers.get(PROJECT_HEADER))
        except NotAdmittedError as error:
            return self._refusal(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except ProjectError as error:
            return self._refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if resource_stamp is None:
            return self._handlers[details.method]
        return export.handler(resource_stamp)

    def _refusal(self, code: grpc.StatusCode, message: str) -> grpc.RpcMethodHandler:
        async def refuse(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            self._requests.labels("grpc", code.name).inc()
            await context.abort(code, message)

        # As a stream: for any other method gRPC reads the message first.
        return grpc.stream_unary_rpc_method_handler(refuse)


class OtlpGrpcReceiver:
    """Listens for OTLP/gRPC. Raises `ConfigError` for certificates that cannot be used."""

    def __init__(self, config: OtlpGrpc, context: ReceiverContext) -> None:
        self._config = config
        self._shares_port = context.shares_port
        # gRPC has its own listeners, so neither HttpServer nor its limits apply here.
        tls = config.tls
        self._credentials = None if tls is None else credentials_of(tls, _SECTION)
        handshake_seconds = _HANDSHAKE_SECONDS if tls is None else tls.handshake_timeout_seconds
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                (
                    "grpc.max_allowed_incoming_connections",
                    connections(MAX_CONNECTIONS, _SECTION),
                ),
                ("grpc.server_handshake_timeout_ms", int(handshake_seconds * 1000)),
                # gRPC's default is 1: a second server on the port would silently share its clients.
                ("grpc.so_reuseport", int(context.shares_port)),
            ]
        )
        exports = [_Export(signal, context.intake, context.requests) for signal in _SERVICES]
        services = _Services(exports, context.admission, context.requests)
        self._server.add_generic_rpc_handlers((services,))

    async def start(self) -> str:
        """Listen. Raises `ServiceError` if the address is not available."""
        host = self._config.host
        port = await bind(self._listen, host, self._config.port, _SECTION)
        return f"{host}:{port}"

    async def _listen(self, host: str, port: int) -> int:
        if not self._shares_port:
            _check_free(host, port)
        # An IPv6 address needs brackets.
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            chosen: int = (
                self._server.add_insecure_port(address)
                if self._credentials is None
                else self._server.add_secure_port(address, self._credentials)
            )
        except RuntimeError as error:
            raise OSError("gRPC cannot bind it; the port may be in use") from error
        await self._server.start()
        return chosen

    def prepare(self, config: OtlpGrpc) -> Callable[[], None]:  # noqa: ARG002 (no live keys)
        """Nothing changes without a restart."""
        return lambda: None

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no new calls, and let those under way finish."""
        await self._server.stop(timeout_seconds)

    def source(self) -> None:
        """No metrics besides the collector's own."""
        return

    def load(self) -> Load:
        """Always empty: gRPC does not report its load."""
        return Load()


def _check_free(host: str, port: int) -> None:
    """Raise `OSError` with the cause if the port is not free.

    gRPC itself does not say the cause, and writes its own lines to standard error.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
