"""OTLP over gRPC; requests come as raw bytes, since nothing here wants them decoded."""

from __future__ import annotations

import logging
import socket
from typing import Final

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from sidelight.collector.config import OtlpGrpc
from sidelight.collector.intake import Intake, UnavailableError
from sidelight.collector.lens.request import MalformedError
from sidelight.collector.log.record import Signal
from sidelight.collector.measure.values import Counter
from sidelight.collector.receive.encoding import response

_logger = logging.getLogger(__name__)

_SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}
MAX_CONNECTIONS: Final = 1024
_HANDSHAKE_MS: Final = 10_000
_DETAILS_KEY: Final = "grpc-status-details-bin"


class _Export:
    """The Export method of one signal's service."""

    def __init__(self, signal: Signal, intake: Intake, requests: Counter) -> None:
        self._signal = signal
        self._intake = intake
        self._requests = requests

    async def export(self, body: bytes, context: grpc.aio.ServicerContext) -> Message:
        try:
            receipt = await self._intake.accept(self._signal, body)
        except MalformedError as error:
            self._count(grpc.StatusCode.INVALID_ARGUMENT)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnavailableError as error:
            code = (
                grpc.StatusCode.RESOURCE_EXHAUSTED if error.is_busy else grpc.StatusCode.UNAVAILABLE
            )
            self._count(code)
            # Without RetryInfo the specification has clients give RESOURCE_EXHAUSTED up.
            details = _retry_details(code, str(error), error.retry_after_seconds)
            await context.abort(code, str(error), ((_DETAILS_KEY, details),))
        except Exception:
            # gRPC would tell the sender the exception's words, which may hold its content.
            _logger.exception("gRPC Export of %s failed", self._signal)
            self._count(grpc.StatusCode.INTERNAL)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error, see the collector's log")
        self._count(grpc.StatusCode.OK)
        return response(self._signal, receipt.rejected, receipt.reason)

    def _count(self, code: grpc.StatusCode) -> None:
        self._requests.labels("grpc", code.name).inc()


def _retry_details(code: grpc.StatusCode, message: str, seconds: int) -> bytes:
    status = Status(code=code.value[0], message=message)
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    serialised: bytes = status.SerializeToString()
    return serialised


class GrpcServer:
    """Listens for OTLP/gRPC."""

    def __init__(
        self,
        config: OtlpGrpc,
        intake: Intake,
        requests: Counter,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_allowed_incoming_connections", max_connections),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
                # Two servers on one port would share its clients without anybody knowing.
                ("grpc.so_reuseport", 0),
            ]
        )
        for signal, service in _SERVICES.items():
            method = grpc.unary_unary_rpc_method_handler(
                _Export(signal, intake, requests).export,
                response_serializer=lambda message: message.SerializeToString(),
            )
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, {"Export": method}),)
            )

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chooses if `port` is 0.

        Raises `OSError` if the address cannot be had.
        """
        _see_whether_free(host, port)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            chosen: int = self._server.add_insecure_port(where)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {where}: is the port taken?") from error
        await self._server.start()
        return chosen

    async def stop(self, timeout_seconds: float) -> None:
        """Take no new calls and let those under way finish."""
        await self._server.stop(timeout_seconds)


def _see_whether_free(host: str, port: int) -> None:
    """gRPC itself says little and writes lines of its own to standard error."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
