"""gRPC's server. Requests stay raw bytes: decoding them here would be wasted."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from sidelight.base.budget import Budget, OverBudgetError
from sidelight.base.tls.watched import Watched
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
from sidelight.collector.receivers.common.type import ReceiverContext
from sidelight.collector.receivers.otlp_grpc.config import OtlpGrpc, handshake_seconds
from sidelight.collector.receivers.otlp_grpc.credentials import credentials_of
from sidelight.collector.receivers.otlp_grpc.messages import MessageReader, NoMessageError
from sidelight.collector.receivers.otlp_grpc.tls import ServerCertificate
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
# gRPC's default is no bound. Go's servers have the same one.
_MAX_CALLS_PER_CONNECTION: Final = 100
_UNASKED_BYTES: Final = 256 * 1024
# A message may take 30 s to arrive. Who reads no answer must not keep a connection for ever.
_GRACE_SECONDS: Final = 60.0
# The metadata in which gRPC carries a google.rpc.Status.
_DETAILS_KEY: Final = "grpc-status-details-bin"


class _RefusedCallError(Exception):
    """A call that the intake never sees; `reason` is a label value."""

    def __init__(
        self, code: grpc.StatusCode, sentence: str, reason: str, retry_seconds: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.reason = reason
        self.retry_seconds = retry_seconds


class _Export:
    """The Export method of one signal's service."""

    def __init__(
        self, signal: Signal, intake: Intake, requests: Counter, messages: MessageReader
    ) -> None:
        self.signal = signal
        self._intake = intake
        self._requests = requests
        self._messages = messages

    def handler(self, stamp: Stamp | None) -> grpc.RpcMethodHandler:
        """The method for a call whose resources get `stamp`."""
        # As a stream: for any other method gRPC reads the message before it asks anybody.
        return grpc.stream_unary_rpc_method_handler(
            partial(self._export, stamp),
            response_serializer=lambda message: message.SerializeToString(),
        )

    def refusal(self, error: _RefusedCallError) -> grpc.RpcMethodHandler:
        """The method for a call that is refused before its message is read."""

        async def refuse(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            await self._refuse(error, context)

        return grpc.stream_unary_rpc_method_handler(refuse)

    async def _refuse(self, error: _RefusedCallError, context: grpc.aio.ServicerContext) -> None:
        self._intake.refusals.note(self.signal, error.reason, str(error))
        await self._abort(context, error.code, str(error), error.retry_seconds)

    async def _export(
        self, stamp: Stamp | None, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> Message:
        try:
            async with self._messages.message(context) as body:
                receipt = await self._intake.accept(self.signal, body, stamp)
        except OverBudgetError as error:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            await self._refuse(_RefusedCallError(code, str(error), "busy", 1), context)
        except TimeoutError:
            code, late = grpc.StatusCode.DEADLINE_EXCEEDED, "the message took too long to arrive"
            await self._refuse(_RefusedCallError(code, late, "timeout"), context)
        except NoMessageError as error:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            await self._refuse(_RefusedCallError(code, str(error), "too_large"), context)
        # The last two come from the intake, which has counted them.
        except MalformedError as error:
            await self._abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnavailableError as error:
            code = (
                grpc.StatusCode.RESOURCE_EXHAUSTED if error.is_busy else grpc.StatusCode.UNAVAILABLE
            )
            await self._abort(context, code, str(error), error.retry_after_seconds)
        except Exception:
            # gRPC would send the exception's message, which may quote content of other senders.
            _logger.exception("gRPC Export of %s failed", self.signal)
            await self._abort(
                context, grpc.StatusCode.INTERNAL, "internal error, see the collector's log"
            )
        self._count(grpc.StatusCode.OK)
        return response(self.signal, receipt.rejected, receipt.reason)

    async def _abort(
        self,
        context: grpc.aio.ServicerContext,
        code: grpc.StatusCode,
        sentence: str,
        retry_seconds: int | None = None,
    ) -> NoReturn:
        self._count(code)
        trailing: tuple[tuple[str, bytes], ...] = ()
        if retry_seconds is not None:
            # By the OTLP specification, clients retry RESOURCE_EXHAUSTED only with RetryInfo.
            trailing = ((_DETAILS_KEY, _retry_details(code, sentence, retry_seconds)),)
        await context.abort(code, sentence, trailing)
        raise AssertionError("abort raises")

    def _count(self, code: grpc.StatusCode) -> None:
        self._requests.labels("grpc", code.name).inc()


def _retry_details(code: grpc.StatusCode, message: str, seconds: int) -> bytes:
    status = Status(code=code.value[0], message=message)
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    serialised: bytes = status.SerializeToString()
    return serialised


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the method of a call. Refuses unknown senders before their message is read."""

    def __init__(self, exports: Sequence[_Export], admission: Admission) -> None:
        self._exports = {f"/{_SERVICES[export.signal]}/Export": export for export in exports}
        self._handlers = {method: export.handler(None) for method, export in self._exports.items()}
        self._admission = admission

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        export = self._exports.get(details.method)
        if export is None:
            return None
        headers = dict(details.invocation_metadata)
        try:
            identity = self._admission.identify("grpc", headers.get(AUTHORIZATION))
            resource_stamp = stamp(export.signal, identity, headers.get(PROJECT_HEADER))
        except NotAdmittedError as error:
            code = grpc.StatusCode.UNAUTHENTICATED
            return export.refusal(_RefusedCallError(code, str(error), "unauthorized"))
        except ProjectError as error:
            code = grpc.StatusCode.INVALID_ARGUMENT
            return export.refusal(_RefusedCallError(code, str(error), "malformed"))
        if resource_stamp is None:
            return self._handlers[details.method]
        return export.handler(resource_stamp)


class OtlpGrpcServer:
    """gRPC's server with the Export methods.

    A connection older than `max_connection_seconds` is told to connect again. Its calls under way
    have another minute.
    """

    def __init__(
        self,
        config: OtlpGrpc,
        context: ReceiverContext,
        *,
        budget: Budget,
        certificate: Watched[ServerCertificate] | None,
        max_connections: int,
        max_connection_seconds: float | None = None,
    ) -> None:
        self._shares_port = context.shares_port
        self._addresses: set[str] = set()
        # gRPC has its own listeners, so neither HttpServer nor its limits apply here.
        self._credentials = None if certificate is None else credentials_of(certificate)
        options = [
            ("grpc.max_receive_message_length", config.max_message_bytes),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.server_handshake_timeout_ms", int(handshake_seconds(config) * 1000)),
            # What it takes of a message before it is asked to read it, for each call.
            ("grpc.http2.lookahead_bytes", _UNASKED_BYTES),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.max_concurrent_streams", _MAX_CALLS_PER_CONNECTION),
            # gRPC's default is 1: a second server on the port would silently share its clients.
            ("grpc.so_reuseport", int(context.shares_port)),
        ]
        if max_connection_seconds is not None:
            options += [
                ("grpc.max_connection_age_ms", int(max_connection_seconds * 1000)),
                ("grpc.max_connection_age_grace_ms", int(_GRACE_SECONDS * 1000)),
            ]
        self._server = grpc.aio.server(options=options)
        messages = MessageReader(budget, config.max_message_bytes)
        exports = [
            _Export(signal, context.intake, context.requests, messages) for signal in _SERVICES
        ]
        services = _Services(exports, context.admission)
        self._server.add_generic_rpc_handlers((services,))

    async def listen(self, addresses: Sequence[str], port: int) -> int:
        """Listen and return the port. Raises `OSError`; it can be tried again then."""
        for address in addresses:
            if address not in self._addresses:
                port = self._bind(address, port)
                self._addresses.add(address)
        # gRPC does not survive that its start is cancelled.
        await asyncio.shield(self._server.start())
        return port

    def _bind(self, address: str, port: int) -> int:
        # An IPv6 address needs brackets.
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            chosen: int = (
                self._server.add_insecure_port(target)
                if self._credentials is None
                else self._server.add_secure_port(target, self._credentials)
            )
        except RuntimeError as error:
            if not self._shares_port:
                _check_free(address, port)
            raise OSError("gRPC cannot bind it; the port may be in use") from error
        return chosen

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no new calls, and let those under way finish."""
        await self._server.stop(timeout_seconds)


def _check_free(host: str, port: int) -> None:
    """Raise `OSError` with the cause if the port is not free. gRPC itself does not say it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
