"""Sends to any OTLP/gRPC endpoint. Requests stay serialised, as they are stored."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import off_loop_if, run_in_thread
from sidelight.base.http_client.proxy import ProxySettingError
from sidelight.base.marks import mark_of
from sidelight.base.tls.client import TlsFileError
from sidelight.collector.destinations.common.answer import (
    MAX_RETRY_AFTER_SECONDS,
    plain,
)
from sidelight.collector.destinations.common.credentials import SecretHeaders
from sidelight.collector.destinations.common.outcome import (
    Delivered,
    Failure,
    Outcome,
    Rejected,
    Retry,
)
from sidelight.collector.destinations.otlp_grpc.channels import Channel, Channels
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

# The default limit of a message in gRPC's libraries.
MAX_USUAL_MESSAGE_BYTES = 4 * 1024 * 1024
# Codes that seem to blame the request, by the HTTP status they stand for. All others are retried.
_BLAMING = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.ALREADY_EXISTS: 409,
}
# What a person has to do about the others.
_ADVICE = {
    grpc.StatusCode.UNAUTHENTICATED: "check {credentials}",
    grpc.StatusCode.PERMISSION_DENIED: "check {credentials}",
    grpc.StatusCode.UNIMPLEMENTED: "it does not accept this signal; correct url or signals",
    grpc.StatusCode.NOT_FOUND: "it does not know the endpoint; correct url or headers",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "it is overloaded or a quota is used up; raise its limit "
    "or set pace_items_per_second",
    grpc.StatusCode.UNAVAILABLE: "it cannot be reached or is not ready; start it, or correct "
    "host, port and scheme in the url",
    grpc.StatusCode.INTERNAL: "it has a fault, or the port does not speak gRPC; look into its log",
}
# Answers to a message that is too large; their words differ with the library and its version.
_MAY_MEAN_SIZE = {
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # C++, Go, Java
    grpc.StatusCode.OUT_OF_RANGE,  # tonic
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
}
# Proxies and servers that stop in the middle of a large message; mostly it is another fault.
_MAY_MEAN_A_CUT = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
}


def build(config: OtlpGrpcDestination) -> OtlpGrpcExporter:
    """The exporter of the configured signals.

    Raises `ConfigError` for a URL with a path and for a header that gRPC cannot carry.
    """
    if urlsplit(config.url).path:
        raise ConfigError(
            f"destination {config.name}: url must end with the port, because gRPC has no paths"
        )
    for header in config.headers:
        # Keys that start with grpc- are reserved (gRPC over HTTP/2, "Custom-Metadata").
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", header) or header.lower().startswith("grpc-"):
            raise ConfigError(
                f"destination {config.name}: {header!r} is not a valid metadata key of gRPC"
            )
    return OtlpGrpcExporter(config)


class OtlpGrpcExporter:
    """Sends over one channel at a time, which reconnects by itself.

    Calls use gRPC's thread-safe API and wake the loop. `grpc.aio` costs the same, but it can
    only start calls on the loop, which then waits while the request is compressed.
    """

    def __init__(self, config: OtlpGrpcDestination) -> None:
        self.name = config.name
        self.signals: frozenset[Signal] = frozenset(config.signals)
        self.pace_items_per_second = config.pace_items_per_second
        self._url = config.url
        self._timeout_seconds = config.timeout_seconds
        self._credentials = SecretHeaders(config.headers)
        self._largest_accepted_bytes = 0
        self._channels = Channels(config)

    async def send(self, record: Record) -> Outcome:
        """Send one record. Faults of network, backend and credentials are outcomes."""
        size = 0
        try:
            headers, channel = await run_in_thread(self._prepare, "sidelight-secrets")
            with channel:
                # gRPC compresses when a call starts: 10 ms for a request of 1 MB.
                start = partial(self._start, channel, record, headers)
                call, size = await off_loop_if(record.is_large, start)
                answer = await _answer(call)
        except ConfigError as error:
            return Retry(str(error), cause="secret", is_destinations=True)
        except (ProxySettingError, TlsFileError) as error:
            # A wrong proxy or certificate is retried like a wrong address: it may be corrected,
            # and the other destinations must start.
            cause = "proxy" if isinstance(error, ProxySettingError) else "tls"
            return Retry(f"{self._url}: {error}", cause=cause, is_destinations=True)
        except grpc.RpcError as error:
            return self._judge(error, size)
        except ValueError:  # gRPC's error for a closed channel
            reason = f"{self._url}: not sent, the destination is closing"
            return Retry(reason, cause="closing", is_destinations=True)
        self._largest_accepted_bytes = max(self._largest_accepted_bytes, size)
        return _delivered(answer)

    async def send_nothing(self, signal: Signal) -> Outcome | None:
        """Send an empty request of the signal."""
        return await self.send(Record(signal, b"", 0, time.time_ns(), "identity"))

    def _prepare(self) -> tuple[dict[str, str], Channel]:
        """Headers and channel, from files read now; blocks."""
        return self._credentials.headers(), self._channels.current()

    def _start(
        self, channel: Channel, record: Record, headers: Mapping[str, str]
    ) -> tuple[grpc.Future, int]:
        """The call under way, and the size of its message."""
        # Decompressed: gRPC compresses messages itself, in a format of its own.
        body = record.body()
        call = channel.calls[record.signal].future(
            body,
            timeout=self._timeout_seconds,
            # gRPC accepts keys in lower case only.
            metadata=[(name.lower(), value) for name, value in headers.items()],
            compression=grpc.Compression.Gzip,
        )
        return call, len(body)

    def close(self) -> None:
        """Close the channel. A `send` under way returns `Retry` at once."""
        self._channels.close()

    def _judge(self, error: Any, size: int) -> Failure:
        code, details = error.code(), error.details() or ""
        cause, said, mark = (
            f"grpc_{code.name.lower()}",
            plain(details),
            mark_of("details", details.encode()),
        )
        place = f"{self._url} answered {code.name}"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            reason = (
                f"{self._url}: no answer within {self._timeout_seconds:g} s; "
                "check whether it is overloaded, or raise timeout_seconds"
            )
            return Retry(reason, cause="timeout")
        after = _retry_after_seconds(error)
        if after is None and self._may_be_too_large(code, size):
            reason = (
                f"{place} to a message of {size} bytes, which may be too large; "
                "raise the limit of the backend"
            )
            is_large = size > MAX_USUAL_MESSAGE_BYTES
            return Rejected(reason, 413, said, cause, mark, is_large)
        if code in _BLAMING:
            reason = f"{place}: it rejects the batch; see what it says in the dead letters"
            return Rejected(reason, _BLAMING[code], said, cause, mark)
        advice = _ADVICE.get(code, "look into its log")
        reason = f"{place}: {advice.format(credentials=self._credentials.sources)}"
        # With a time to wait the backend says that it has too much to do.
        return Retry(reason, after, cause, said, mark, is_destinations=after is not None)

    def _may_be_too_large(self, code: grpc.StatusCode, size: int) -> bool:
        """Whether the size of a message may be why the backend answered `code`."""
        accepted = self._largest_accepted_bytes
        if code in _MAY_MEAN_SIZE:
            return size > (accepted or MAX_USUAL_MESSAGE_BYTES)
        return code in _MAY_MEAN_A_CUT and size > max(accepted, MAX_USUAL_MESSAGE_BYTES)


async def _answer(call: grpc.Future) -> bytes:
    """The answer of a call under way. Raises `grpc.RpcError`."""
    loop = asyncio.get_running_loop()
    is_done = asyncio.Event()

    def wake(_: grpc.Future) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nothing waits for the answer
            loop.call_soon_threadsafe(is_done.set)

    call.add_done_callback(wake)
    try:
        await is_done.wait()
    except asyncio.CancelledError:
        # The batch may be sent again at once: this call must not arrive after it.
        call.cancel()
        raise
    answer: bytes = call.result()
    return answer


def _delivered(answer: bytes) -> Delivered:
    # The responses of all signals have the same fields on the wire.
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Delivered()
    return Delivered(max(0, partial.rejected_spans), said=plain(partial.error_message))


def _retry_after_seconds(error: Any) -> float | None:
    """The delay of the answer's RetryInfo, at most an hour; None without one."""
    for key, value in error.trailing_metadata() or ():
        # The metadata in which gRPC carries a google.rpc.Status.
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    seconds: float = info.retry_delay.ToTimedelta().total_seconds()
                    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)
        except (DecodeError, OverflowError, ValueError):
            return None
    return None
