"""Receives Zipkin spans over HTTP: one path, JSON of version 2."""

from __future__ import annotations

from typing import Final

from sidelight.base.budget import Budget, OverBudgetError
from sidelight.base.http_server import Admit, Handler, Head, HttpRequest, HttpResponse
from sidelight.collector.ingest.intake import UnavailableError
from sidelight.collector.receivers.common.admission import (
    AUTHORIZATION,
    Admission,
    NotAdmittedError,
    stamp,
)
from sidelight.collector.receivers.common.encoded_body import EncodingError, decoded
from sidelight.collector.receivers.common.gzip_body import TooLargeError
from sidelight.collector.receivers.common.http_receiver import HttpReceiver, HttpService
from sidelight.collector.receivers.common.http_refusals import HttpRefusals
from sidelight.collector.receivers.common.json_body import JsonBodies
from sidelight.collector.receivers.common.type import ReceiverContext
from sidelight.collector.receivers.zipkin.config import Zipkin
from sidelight.collector.receivers.zipkin.spans import to_otlp
from sidelight.otlp.request import MalformedError
from sidelight.otlp.signals import Signal
from sidelight.otlp.stamp import Stamp

SPANS_PATH: Final = "/api/v2/spans"
# The label value of the receiver's counters.
_PROTOCOL: Final = "zipkin"
_JSON: Final = "application/json"


def build(config: Zipkin, context: ReceiverContext) -> HttpReceiver[Zipkin]:
    """The receiver. Raises `ConfigError` for certificates that cannot be used."""
    return HttpReceiver(config, context, "receivers.zipkin", _service)


def _service(config: Zipkin, context: ReceiverContext, budget: Budget) -> HttpService:
    admission = context.admission
    refusals = HttpRefusals(_PROTOCOL, _signal, context.requests, context.intake)
    return HttpService(
        handler(config, context, budget, refusals),
        admit=None if admission.is_open else _admit(admission, refusals),
        refused=refusals.by_server,
    )


def _signal(path: str) -> Signal | None:
    return "traces" if path == SPANS_PATH else None


def _admit(admission: Admission, refusals: HttpRefusals) -> Admit:
    """Refuses requests without valid credentials before their body is read."""

    def ask(head: Head) -> HttpResponse | None:
        try:
            admission.identify(_PROTOCOL, head.headers.get(AUTHORIZATION))
        except NotAdmittedError as error:
            refusals.by_server(head.path, 401, str(error))
            return _unauthorized(error)
        return None

    return ask


def handler(
    config: Zipkin, context: ReceiverContext, budget: Budget, refusals: HttpRefusals
) -> Handler:
    """Answers requests as Zipkin's server does: 202 for stored spans."""
    export = _Export(config, context, budget, refusals)

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = await export(request)
        context.requests.labels(_PROTOCOL, str(answer.status)).inc()
        return answer

    return handle


class _Export:
    """Turns a request into its answer."""

    def __init__(
        self, config: Zipkin, context: ReceiverContext, budget: Budget, refusals: HttpRefusals
    ) -> None:
        self._config = config
        self._context = context
        self._budget = budget
        self._refusals = refusals
        self._bodies = JsonBodies()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path != SPANS_PATH:
            return _plain(404, f"not found; Zipkin path: {SPANS_PATH}")
        if request.method != "POST":
            return _plain(405, f"{SPANS_PATH} accepts only POST", {"Allow": "POST"})
        try:
            authorization = request.headers.get(AUTHORIZATION)
            identity = self._context.admission.identify(_PROTOCOL, authorization)
        except NotAdmittedError as error:  # the token was removed while the body arrived
            self._refusals.note(request.path, 401, str(error))
            return _unauthorized(error)
        # Like Zipkin's server, read a body without a content type as JSON; some senders omit it.
        content_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
        if content_type != _JSON:
            return self._refusal(415, f"Content-Type must be {_JSON}")
        held_bytes = 0
        try:
            try:
                body, held_bytes = decoded(
                    request, self._config.max_decompressed_bytes, self._budget
                )
                converted = await self._bodies.convert(to_otlp, body)
            except MalformedError as error:
                return self._refusal(400, str(error))
            except TooLargeError as error:
                return self._refusal(413, str(error))
            except EncodingError as error:
                return self._refusal(415, str(error))
            except OverBudgetError as error:
                return self._refusal(503, str(error), {"Retry-After": "1"})
            return await self._store(converted, stamp("traces", identity, None))
        finally:
            self._budget.give_back(held_bytes)

    async def _store(self, converted: bytes, resource_stamp: Stamp | None) -> HttpResponse:
        # The intake has counted what it refuses.
        try:
            receipt = await self._context.intake.accept("traces", converted, resource_stamp)
        except MalformedError as error:
            return _plain(400, str(error))
        except UnavailableError as error:
            retry_after = {"Retry-After": str(error.retry_after_seconds)}
            return _plain(429 if error.is_busy else 503, str(error), retry_after)
        if receipt.rejected:
            # Zipkin has no partial success, but some senders log the body of an answer.
            return _plain(202, f"{receipt.rejected} spans were refused: {receipt.reason}")
        return HttpResponse(202, b"", {})

    def _refusal(
        self, code: int, sentence: str, headers: dict[str, str] | None = None
    ) -> HttpResponse:
        self._refusals.note(SPANS_PATH, code, sentence)
        return _plain(code, sentence, headers)


def _unauthorized(error: NotAdmittedError) -> HttpResponse:
    return _plain(401, str(error), {"WWW-Authenticate": 'Bearer realm="sidelight"'})


def _plain(code: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        code, f"{message}\n".encode(), {"Content-Type": "text/plain", **(headers or {})}
    )
