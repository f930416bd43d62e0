"""OTLP over HTTP: paths, content types, statuses; what is inside is the intake's business."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from prometheus_client import Counter

from sidelight.collector.config import OtlpHttp
from sidelight.collector.http_server import Handler, HttpRequest, HttpResponse, HttpServer, Limits
from sidelight.collector.intake import Intake, UnavailableError
from sidelight.collector.lens.request import MalformedError
from sidelight.collector.log.record import Signal
from sidelight.collector.receive.encoding import (
    JSON,
    PROTOBUF,
    TooLargeError,
    encode,
    from_json,
    gunzip,
    response,
    status,
)

PATHS: Final = MappingProxyType[str, Signal](
    {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
)


def build(config: OtlpHttp, intake: Intake, requests: Counter) -> HttpServer:
    """The server; `requests` counts by protocol and outcome."""
    return HttpServer(
        handler(config, intake, requests),
        Limits(
            max_body_bytes=config.max_body_bytes,
            max_buffered_bytes=max(config.max_buffered_bytes, config.max_body_bytes),
            max_connections=config.max_connections,
            header_timeout_seconds=config.header_timeout_seconds,
            body_timeout_seconds=config.body_timeout_seconds,
            idle_timeout_seconds=config.idle_timeout_seconds,
        ),
    )


def handler(config: OtlpHttp, intake: Intake, requests: Counter) -> Handler:
    """Answers one request as the OTLP/HTTP specification has it."""

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = await _export(request, config, intake)
        requests.labels("http", str(answer.status)).inc()
        return answer

    return handle


async def _export(request: HttpRequest, config: OtlpHttp, intake: Intake) -> HttpResponse:
    signal = PATHS.get(request.path)
    if signal is None:
        return _plain(404, f"no such path; OTLP goes to {', '.join(PATHS)}")
    if request.method != "POST":
        return _plain(405, f"{request.path} takes POST only", {"Allow": "POST"})
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in (PROTOBUF, JSON):
        return _plain(415, f"Content-Type must be {PROTOBUF} or {JSON}")
    try:
        body = _protobuf(signal, request, content_type, config.max_decompressed_bytes)
        receipt = await intake.accept(signal, body)
    except MalformedError as error:
        return _error(400, str(error), content_type)
    except TooLargeError as error:
        return _error(413, str(error), content_type)
    except UnavailableError as error:
        return _error(
            429 if error.is_busy else 503,
            str(error),
            content_type,
            {"Retry-After": str(error.retry_after_seconds)},
        )
    except _EncodingError as error:
        return _plain(415, str(error))
    message = response(signal, receipt.rejected, receipt.reason)
    return HttpResponse(200, encode(message, content_type), {"Content-Type": content_type})


class _EncodingError(Exception):
    """A Content-Encoding that is not understood."""


def _protobuf(signal: Signal, request: HttpRequest, content_type: str, max_bytes: int) -> bytes:
    body: bytes | bytearray = request.body
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        body = gunzip(body, max_bytes)
    elif encoding != "identity":
        raise _EncodingError("Content-Encoding must be gzip or absent")
    if content_type == JSON:
        return from_json(signal, body)
    return body if isinstance(body, bytes) else bytes(body)


def _plain(code: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, f"{message}\n".encode(), {"Content-Type": "text/plain", **(headers or {})}
    )


def _error(
    code: int, message: str, content_type: str, headers: dict[str, str] | None = None
) -> HttpResponse:
    body = encode(status(message), content_type)
    return HttpResponse(code, body, {"Content-Type": content_type, **(headers or {})})
