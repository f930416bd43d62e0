"""Receives OTLP over HTTP: paths, content types, status codes. The intake does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final, cast

from sidelight.base.auth.guard import Identity
from sidelight.base.budget import Budget, OverBudgetError
from sidelight.base.http_server import (
    Admit,
    Handler,
    Head,
    HttpRequest,
    HttpResponse,
    in_words,
)
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
from sidelight.collector.receivers.common.encoded_body import EncodingError, decoded
from sidelight.collector.receivers.common.gzip_body import TooLargeError
from sidelight.collector.receivers.common.http_api import HttpApi
from sidelight.collector.receivers.common.http_receiver import HttpReceiver, HttpService
from sidelight.collector.receivers.common.http_refusals import HttpRefusals
from sidelight.collector.receivers.common.json_body import JsonBodies
from sidelight.collector.receivers.common.type import ReceiverContext
from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from sidelight.collector.receivers.otlp_http.cors import Cors, without_preflights
from sidelight.collector.receivers.otlp_http.encoding import (
    JSON,
    PROTOBUF,
    Converted,
    answer,
    encode,
    status,
)
from sidelight.otlp.request import MalformedError
from sidelight.otlp.signals import Signal

PATHS: Final = MappingProxyType[str, Signal](
    {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
)


def build(config: OtlpHttp, context: ReceiverContext) -> HttpReceiver[OtlpHttp]:
    """The receiver. Raises `ConfigError` for certificates that cannot be used."""
    return HttpReceiver(config, context, "receivers.otlp_http", _service)


def _service(config: OtlpHttp, context: ReceiverContext, budget: Budget) -> HttpService:
    admission, requests = context.admission, context.requests
    paths = OtlpPaths(context.http_apis)
    refusals = HttpRefusals("http", paths.signal, requests, context.intake)
    handle = handler(config, context.intake, requests, admission, paths, budget)
    ask = None if admission.is_open else admit(admission, refusals, paths)
    service = HttpService(handle, ask, paths.explain, refusals.by_server)
    if not config.cors:
        return service
    cors = Cors(config.cors)
    return replace(
        service,
        handler=cors.handler(handle, requests),
        admit=None if ask is None else without_preflights(ask),
        add_headers=cors.added,
    )


class OtlpPaths:
    """The paths of the port: those that accept OTLP, and those of the other APIs."""

    def __init__(self, http_apis: Sequence[HttpApi] = ()) -> None:
        self._apis = tuple(http_apis)
        self._signals: dict[str, Signal] = dict(PATHS)
        for api in self._apis:
            self._signals |= api.otlp_paths
        self._open = frozenset(path for api in self._apis for path in api.open_paths)

    def signal(self, path: str) -> Signal | None:
        """The signal that `path` accepts; None if it does not accept OTLP."""
        return self._signals.get(path)

    def is_open(self, path: str) -> bool:
        """Whether `path` needs no credentials."""
        return path in self._open

    def api(self, path: str) -> HttpApi | None:
        """The API that `path` belongs to, or None."""
        return next((api for api in self._apis if path.startswith(api.prefix)), None)

    def explain(self, path: str, headers: Mapping[str, str], sentence: str) -> tuple[str, bytes]:
        """The error as a `Status`, which OTLP requires, in the encoding of the request.

        Plain text if the request is clearly not OTLP: another path, and no encoding of OTLP.
        """
        kind = _media_type(headers)
        if path and path not in self._signals and kind not in (PROTOBUF, JSON):
            return in_words(path, headers, sentence)
        kind = JSON if kind == JSON else PROTOBUF
        return kind, encode(status(sentence), kind)

    def unauthorized(
        self, path: str, headers: Mapping[str, str], error: NotAdmittedError
    ) -> HttpResponse:
        """The answer to a request without valid credentials."""
        api = self.api(path)
        if api is not None:
            return api.refuse(str(error))
        # RFC 6750: a request without any credentials gets no error code.
        fault = "" if error.reason == "missing" else ', error="invalid_token"'
        challenge = {"WWW-Authenticate": f'Bearer realm="sidelight"{fault}'}
        return self.fault(401, path, headers, str(error), challenge)

    def fault(
        self,
        code: int,
        path: str,
        asked: Mapping[str, str],
        sentence: str,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """An error in the form that path and encoding require; `asked`: the request's headers."""
        kind, body = self.explain(path, asked, sentence)
        return HttpResponse(code, body, {"Content-Type": kind, **(headers or {})})


def admit(admission: Admission, refusals: HttpRefusals, paths: OtlpPaths) -> Admit:
    """Refuses requests without valid credentials before their body is read."""

    def ask(head: Head) -> HttpResponse | None:
        try:
            if not paths.is_open(head.path):
                admission.identify("http", head.headers.get(AUTHORIZATION))
        except NotAdmittedError as error:
            refusals.by_server(head.path, 401, str(error))
            return paths.unauthorized(head.path, head.headers, error)
        return None

    return ask


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def handler(
    config: OtlpHttp,
    intake: Intake,
    requests: Counter,
    admission: Admission,
    paths: OtlpPaths,
    budget: Budget | None = None,
) -> Handler:
    """Answers requests by the OTLP/HTTP specification. `budget`: memory for decompressed bodies."""
    budget = budget or Budget(config.max_buffered_bytes)
    refusals = HttpRefusals("http", paths.signal, requests, intake)
    export = _Export(config, intake, admission, paths, budget, refusals)

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = await export(request)
        requests.labels("http", str(answer.status)).inc()
        return answer

    return handle


class _RefusedExportError(Exception):
    """A request that the intake never sees. `headers` are those of the answer."""

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers


class _Export:
    """Turns a request into its answer."""

    def __init__(
        self,
        config: OtlpHttp,
        intake: Intake,
        admission: Admission,
        paths: OtlpPaths,
        budget: Budget,
        refusals: HttpRefusals,
    ) -> None:
        self._paths = paths
        self._admission = admission
        self._max_decompressed_bytes = config.max_decompressed_bytes
        self._intake = intake
        self._budget = budget
        self._refusals = refusals
        self._json = JsonBodies()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        signal = self._paths.signal(request.path)
        api = self._paths.api(request.path) if signal is None else None
        # Health checks come without credentials.
        if api is not None and self._paths.is_open(request.path):
            return api.answer(request, None)
        try:
            identity = self._admission.identify("http", request.headers.get(AUTHORIZATION))
        except NotAdmittedError as error:  # the token was removed while the body arrived
            self._refusals.note(request.path, 401, str(error))
            return self._paths.unauthorized(request.path, request.headers, error)
        if signal is None:
            if api is not None:
                return api.answer(request, identity)
            return self._refusal(request, 404, f"not found; OTLP paths: {', '.join(PATHS)}")
        if request.method != "POST":
            allow = {"Allow": "POST"}
            return self._refusal(request, 405, f"{request.path} accepts only POST", allow)
        try:
            return await self._accept(signal, identity, request)
        except _RefusedExportError as error:
            self._refusals.note(request.path, error.status, str(error))
            return self._refusal(request, error.status, str(error), error.headers)
        # These two come from the intake, which has counted them.
        except MalformedError as error:
            return self._refusal(request, 400, str(error))
        except UnavailableError as error:
            return self._refusal(
                request,
                429 if error.is_busy else 503,
                str(error),
                {"Retry-After": str(error.retry_after_seconds)},
            )

    async def _accept(
        self, signal: Signal, identity: Identity | None, request: HttpRequest
    ) -> HttpResponse:
        """Store the data of a request. Raises `_RefusedExportError`, and what the intake raises."""
        content_type = _media_type(request.headers)
        # No guessing by content: a wrong guess would store garbage as spans.
        if content_type not in (PROTOBUF, JSON):
            raise _RefusedExportError(415, f"Content-Type must be {PROTOBUF} or {JSON}")
        held_bytes = 0
        try:
            try:
                resource_stamp = stamp(signal, identity, request.headers.get(PROJECT_HEADER))
                body, held_bytes = decoded(request, self._max_decompressed_bytes, self._budget)
                converted = await self._protobuf(signal, body, content_type)
            except (MalformedError, ProjectError) as error:
                raise _RefusedExportError(400, str(error)) from None
            except TooLargeError as error:
                raise _RefusedExportError(413, str(error)) from None
            except EncodingError as error:
                raise _RefusedExportError(415, str(error)) from None
            except OverBudgetError as error:
                raise _RefusedExportError(503, str(error), {"Retry-After": "1"}) from None
            receipt = await self._intake.accept(
                signal, converted.body, resource_stamp, already_refused=converted.invalid
            )
        finally:
            if held_bytes:
                self._budget.give_back(held_bytes)
        encoded = answer(signal, receipt.rejected, receipt.reason, content_type)
        return HttpResponse(200, encoded, {"Content-Type": content_type})

    async def _protobuf(
        self, signal: Signal, body: bytes | bytearray, content_type: str
    ) -> Converted:
        if content_type == JSON:
            return await self._json.convert(partial(_from_json, signal), body)
        # A bytearray is as good as bytes, because nothing changes it; a copy would cost 2 %.
        return Converted(cast("bytes", body), 0)

    def _refusal(
        self,
        request: HttpRequest,
        code: int,
        sentence: str,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        return self._paths.fault(code, request.path, request.headers, sentence, headers)


def _from_json(signal: Signal, body: bytes | bytearray) -> Converted:
    # msgspec takes 5 MB, and most senders use protobuf.
    from sidelight.collector.receivers.otlp_http.otlp_json import from_json

    return from_json(signal, body)
