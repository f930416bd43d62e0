"""Receives Zipkin spans over HTTP: one path, JSON of version 2."""

from __future__ import annotations

from typing import Final

from sidelight.base.http_server import Admit, Handler, Head, HttpRequest, HttpResponse
from sidelight.collector.ingest.intake import UnavailableError
from sidelight.collector.receivers.common.admission import (
    AUTHORIZATION,
    Admission,
    NotAdmittedError,
    stamp,
)
from sidelight.collector.receivers.common.gzip_body import TooLargeError, gunzip
from sidelight.collector.receivers.common.http_receiver import HttpReceiver, HttpService
from sidelight.collector.receivers.common.json_body import JsonBodies
from sidelight.collector.receivers.common.type import ReceiverContext
from sidelight.collector.receivers.zipkin.config import Zipkin
from sidelight.collector.receivers.zipkin.spans import to_otlp
from sidelight.otlp.request import MalformedError

SPANS_PATH: Final = "/api/v2/spans"
# The label value of the receiver's counters.
_PROTOCOL: Final = "zipkin"
_JSON: Final = "application/json"


def build(config: Zipkin, context: ReceiverContext) -> HttpReceiver[Zipkin]:
    """The receiver. Raises `ConfigError` for certificates that cannot be used."""
    return HttpReceiver(config, context, "receivers.zipkin", _service)


def _service(config: Zipkin, context: ReceiverContext) -> HttpService:
    admission = context.admission
    return HttpService(
        handler(config, context), admit=None if admission.is_open else _admit(admission, context)
    )


def _admit(admission: Admission, context: ReceiverContext) -> Admit:
    """Refuses requests without valid credentials before their body is read."""

    def ask(head: Head) -> HttpResponse | None:
        try:
            admission.identify(_PROTOCOL, head.headers.get(AUTHORIZATION))
        except NotAdmittedError as error:
            context.requests.labels(_PROTOCOL, "401").inc()
            return _unauthorized(error)
        return None

    return ask


def handler(config: Zipkin, context: ReceiverContext) -> Handler:
    """Answers requests as Zipkin's server does: 202 for stored spans."""
    bodies = JsonBodies()

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = await _answer(request, config, context, bodies)
        context.requests.labels(_PROTOCOL, str(answer.status)).inc()
        return answer

    return handle


async def _answer(
    request: HttpRequest, config: Zipkin, context: ReceiverContext, bodies: JsonBodies
) -> HttpResponse:
    if request.path != SPANS_PATH:
        return _plain(404, f"not found; Zipkin path: {SPANS_PATH}")
    if request.method != "POST":
        return _plain(405, f"{SPANS_PATH} accepts only POST", {"Allow": "POST"})
    # Like Zipkin's server, read a body without a content type as JSON; some senders omit it.
    content_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if content_type != _JSON:
        return _plain(415, f"Content-Type must be {_JSON}")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        return _plain(415, "Content-Encoding must be gzip or absent")
    try:
        identity = context.admission.identify(_PROTOCOL, request.headers.get(AUTHORIZATION))
        body: bytes | bytearray = request.body
        if encoding == "gzip":
            body = gunzip(body, config.max_decompressed_bytes)
        converted = await bodies.convert(to_otlp, body)
        receipt = await context.intake.accept("traces", converted, stamp("traces", identity, None))
    except NotAdmittedError as error:  # the token was removed while the body arrived
        return _unauthorized(error)
    except MalformedError as error:
        return _plain(400, str(error))
    except TooLargeError as error:
        return _plain(413, str(error))
    except UnavailableError as error:
        retry_after = {"Retry-After": str(error.retry_after_seconds)}
        return _plain(429 if error.is_busy else 503, str(error), retry_after)
    if receipt.rejected:
        # Zipkin has no partial success, but some senders log the body of an answer.
        return _plain(202, f"{receipt.rejected} spans were refused: {receipt.reason}")
    return HttpResponse(202, b"", {})


def _unauthorized(error: NotAdmittedError) -> HttpResponse:
    return _plain(401, str(error), {"WWW-Authenticate": 'Bearer realm="sidelight"'})


def _plain(code: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, f"{message}\n".encode(), {"Content-Type": "text/plain", **(headers or {})}
    )
