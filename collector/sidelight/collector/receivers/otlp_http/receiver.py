"""OTLP over HTTP: paths, content types, statuses; what is inside is the intake's business."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Final, cast

from sidelight.base.http_server import (
    Admit,
    Handler,
    Head,
    HttpRequest,
    HttpResponse,
    HttpServer,
    Limits,
    TlsOptions,
    in_words,
)
from sidelight.collector.ingest.intake import Intake, UnavailableError
from sidelight.collector.metrics.values import Counter
from sidelight.collector.receivers.common.admission import (
    AUTHORIZATION,
    PROJECT_HEADER,
    Admission,
    NotAdmittedError,
    ProjectError,
    stamp,
)
from sidelight.collector.receivers.langfuse_api import routes as langfuse
from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from sidelight.collector.receivers.otlp_http.encoding import (
    JSON,
    PROTOBUF,
    TooLargeError,
    encode,
    from_json,
    gunzip,
    response,
    status,
)
from sidelight.otlp.request import MalformedError
from sidelight.otlp.signals import Signal

PATHS: Final = MappingProxyType[str, Signal](
    {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
)

# Above this, 1 ms of work, JSON goes to a thread and others are served meanwhile.
_QUICK_JSON_BYTES: Final = 8 * 1024


def build(
    config: OtlpHttp,
    intake: Intake,
    requests: Counter,
    admission: Admission,
    tls: TlsOptions | None = None,
) -> HttpServer:
    """The server; `requests` counts by protocol and outcome."""
    return HttpServer(
        handler(config, intake, requests, admission),
        Limits(
            max_body_bytes=config.max_body_bytes,
            max_buffered_bytes=max(config.max_buffered_bytes, config.max_body_bytes),
            max_connections=config.max_connections,
            header_timeout_seconds=config.header_timeout_seconds,
            body_timeout_seconds=config.body_timeout_seconds,
            idle_timeout_seconds=config.idle_timeout_seconds,
        ),
        admit=None if admission.is_open else admit(admission, requests),
        explain=explain,
        tls=tls,
    )


def admit(admission: Admission, requests: Counter) -> Admit:
    """Refuses at its head who may not send: nothing of the body is read."""

    def ask(head: Head) -> HttpResponse | None:
        try:
            if head.path != langfuse.HEALTH_PATH:
                admission.identify("http", head.headers.get(AUTHORIZATION))
        except NotAdmittedError as error:
            requests.labels("http", "401").inc()
            return _unauthorized(head.path, head.headers, error)
        return None

    return ask


def explain(path: str, headers: Mapping[str, str], sentence: str) -> tuple[str, bytes]:
    """As a Status, which OTLP wants of every error, in the encoding of the request.

    In words for those who plainly want something else: another path without an encoding of OTLP.
    """
    kind = _media_type(headers)
    is_other = bool(path) and path not in PATHS and path not in langfuse.OTLP_PATHS
    if is_other and kind not in (PROTOBUF, JSON):
        return in_words(path, headers, sentence)
    kind = JSON if kind == JSON else PROTOBUF
    return kind, encode(status(sentence), kind)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _unauthorized(path: str, headers: Mapping[str, str], error: NotAdmittedError) -> HttpResponse:
    if path.startswith(langfuse.PREFIX):
        return langfuse.refusal(str(error))
    fault = "" if error.reason == "missing" else ', error="invalid_token"'
    challenge = {"WWW-Authenticate": f'Bearer realm="sidelight"{fault}'}
    return _fault(401, path, headers, str(error), challenge)


def handler(config: OtlpHttp, intake: Intake, requests: Counter, admission: Admission) -> Handler:
    """Answers one request as the OTLP/HTTP specification has it."""
    export = _Export(config, intake, admission)

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = await export(request)
        requests.labels("http", str(answer.status)).inc()
        return answer

    return handle


class _Export:
    """One request to its answer."""

    def __init__(self, config: OtlpHttp, intake: Intake, admission: Admission) -> None:
        self._admission = admission
        self._max_decompressed_bytes = config.max_decompressed_bytes
        self._intake = intake
        # One, so that JSON never takes the memory of more than one request; begun when needed.
        self._json_thread = ThreadPoolExecutor(1, thread_name_prefix="sidelight-json")

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == langfuse.HEALTH_PATH:
            return langfuse.answer(request, None)
        try:
            identity = self._admission.identify("http", request.headers.get(AUTHORIZATION))
        except NotAdmittedError as error:  # The token was taken away while the body came.
            return _unauthorized(request.path, request.headers, error)
        signal = PATHS.get(request.path) or langfuse.OTLP_PATHS.get(request.path)
        if signal is None:
            if request.path.startswith(langfuse.PREFIX):
                return langfuse.answer(request, identity)
            return _refusal(request, 404, f"no such path; OTLP goes to {', '.join(PATHS)}")
        if request.method != "POST":
            return _refusal(request, 405, f"{request.path} takes POST only", {"Allow": "POST"})
        content_type = _media_type(request.headers)
        if content_type not in (PROTOBUF, JSON):
            return _refusal(request, 415, f"Content-Type must be {PROTOBUF} or {JSON}")
        try:
            whose = stamp(signal, identity, request.headers.get(PROJECT_HEADER))
            body = await self._protobuf(signal, request, content_type)
            receipt = await self._intake.accept(signal, body, whose)
        except (MalformedError, ProjectError) as error:
            return _refusal(request, 400, str(error))
        except TooLargeError as error:
            return _refusal(request, 413, str(error))
        except UnavailableError as error:
            return _refusal(
                request,
                429 if error.is_busy else 503,
                str(error),
                {"Retry-After": str(error.retry_after_seconds)},
            )
        except _EncodingError as error:
            return _refusal(request, 415, str(error))
        message = response(signal, receipt.rejected, receipt.reason)
        return HttpResponse(200, encode(message, content_type), {"Content-Type": content_type})

    async def _protobuf(self, signal: Signal, request: HttpRequest, content_type: str) -> bytes:
        body: bytes | bytearray = request.body
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding == "gzip":
            body = gunzip(body, self._max_decompressed_bytes)
        elif encoding != "identity":
            raise _EncodingError("Content-Encoding must be gzip or absent")
        if content_type != JSON:
            # Nobody changes it any more, and all that reads it takes either; a copy costs 2 %.
            return cast("bytes", body)
        if len(body) <= _QUICK_JSON_BYTES:
            return from_json(signal, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._json_thread, from_json, signal, body)


class _EncodingError(Exception):
    """A Content-Encoding that is not understood."""


def _refusal(
    request: HttpRequest, code: int, sentence: str, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    return _fault(code, request.path, request.headers, sentence, headers)


def _fault(
    code: int,
    path: str,
    asked: Mapping[str, str],
    sentence: str,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    kind, body = explain(path, asked, sentence)
    return HttpResponse(code, body, {"Content-Type": kind, **(headers or {})})
