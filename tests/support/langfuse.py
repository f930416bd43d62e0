"""Stands for a Langfuse 4 server: the rules of its OTLP endpoint as measured on a real one.

A real Langfuse needs Postgres, ClickHouse, Redis and S3. This one enforces over a real
socket what those rules ask of a sender, and keeps what it took for the test to query.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.backend import Backend, Reply, Request
from support.langfuse_view import Observation, observations

Mode = Literal[
    "up",  # everything works
    "storage down",  # S3 or ClickHouse is gone: 500 without Retry-After, yet transient
    "queue down",  # Redis is gone: hangs
    "busy",  # the cloud's rate limit: 429 with Retry-After
    "no answer",  # took the batch, closed before answering
    "cut",  # took the batch, closed in the middle of the answer
]
_JSON = {"Content-Type": "application/json"}
_MAX_INGESTION_BYTES = 4_500_000
_ENVIRONMENT = re.compile(r"(?!langfuse)[a-z0-9-_]{1,40}")


class LangfuseStandIn(Backend):
    """One project behind one key pair; `mode` may be changed at any time."""

    def __init__(
        self, public_key: str = "pk-lf-test", secret_key: str = "sk-lf-test", port: int = 0
    ) -> None:
        self.public_key = public_key
        self.secret_key = secret_key
        self.project = {"id": "prj-1", "name": "Stand-in"}
        self.mode: Mode = "up"
        self.rows: list[Observation] = []
        """Stored observations; a span that is sent again is another row."""
        self.prices: dict[str, float] = {}
        """The price of a token, by the models that it knows."""
        self.scores: dict[str, dict[str, Any]] = {}
        super().__init__(self._respond, port=port)

    def span_ids(self) -> list[str]:
        """The span ids of all rows, in the order they came."""
        return [row.span_id for row in self.rows]

    def _respond(self, request: Request) -> Reply:
        if not self._authorized(request):
            return _reply(401, {"message": "Invalid credentials"})
        path, _, query = request.path.partition("?")
        match request.method, path:
            case "GET", "/api/public/projects":
                return _reply(200, {"data": [{**self.project, "metadata": {}}]})
            case "POST", "/api/public/otel/v1/metrics":
                return _reply(200, {})
            case "POST", "/api/public/otel/v1/traces":
                return self._ingest(request)
            case "GET", "/api/public/v2/observations":
                return self._list(dict(parse_qsl(query)))
            case "POST", "/api/public/ingestion":
                return self._ingest_scores(request)
        return _reply(404, {"message": "Not found"})

    def _authorized(self, request: Request) -> bool:
        pair = f"{self.public_key}:{self.secret_key}".encode()
        return request.headers.get("authorization") == f"Basic {base64.b64encode(pair).decode()}"

    def _ingest(self, request: Request) -> Reply:
        match self.mode:
            case "storage down":
                return _reply(500, {"message": "Internal Server Error"})
            case "queue down":
                return Reply(fault="hang")
            case "busy":
                limited = _reply(429, {"message": "Rate limit exceeded"})
                return Reply(429, limited.body, {**_JSON, "Retry-After": "7"})
        try:
            self._check_version(request)
            exported = _decode(request)
            _check_ids(exported)
            rows = observations(exported, self.prices)
        except _BadRequestError as error:
            return _reply(error.status, {"message": str(error)})
        self.rows += rows
        match self.mode:
            case "no answer":
                return Reply(fault="no answer")
            case "cut":
                return Reply(200, b"{}".ljust(64), _JSON, fault="cut")
        return _reply(200, {})

    def _list(self, asked: dict[str, str]) -> Reply:
        """A page of observations, with a cursor while there are more."""
        since = datetime.fromisoformat(asked.get("fromStartTime", "1970-01-01T00:00:00Z"))
        rows = [row for row in self.rows if row.start_ns >= since.timestamp() * 1e9]
        start, limit = int(asked.get("cursor", "0")), int(asked.get("limit", "50"))
        page = [
            {
                "id": row.span_id,
                "traceId": row.trace_id,
                "type": row.type,
                "name": row.name,
                "usageDetails": {"total": row.tokens} if row.tokens else {},
                "totalCost": row.cost,
                "sessionId": row.session or None,
                "environment": row.environment,
            }
            for row in rows[start : start + limit]
        ]
        more = {"cursor": str(start + limit)} if start + limit < len(rows) else {}
        return _reply(200, {"data": page, "meta": more})

    def _ingest_scores(self, request: Request) -> Reply:
        """Takes a batch of events; a score with the same id again replaces it.

        With `events_only` it takes no other events. Each has an answer of its own.
        """
        match self.mode:
            case "storage down":
                return _reply(500, {"message": "Internal Server Error"})
            case "busy":
                limited = _reply(429, {"message": "Rate limit exceeded"})
                return Reply(429, limited.body, {**_JSON, "Retry-After": "0"})
        if len(request.body) > _MAX_INGESTION_BYTES:
            return _reply(413, {"message": "Body exceeded 4.5mb limit"})
        try:
            batch = json.loads(request.body)["batch"]
        except (ValueError, KeyError, TypeError):
            return _reply(400, {"message": "Invalid request data"})
        answer: dict[str, list[dict[str, Any]]] = {"successes": [], "errors": []}
        for event in batch:
            fault = _event_fault(event)
            if fault:
                told = {"id": event.get("id"), "status": 400, "message": fault, "error": fault}
                answer["errors"].append(told)
                continue
            score = event["body"]
            self.scores[score["id"]] = {**score, "timestamp": event["timestamp"]}
            answer["successes"].append({"id": event["id"], "status": 201})
        return _reply(207, answer)

    def _check_version(self, request: Request) -> None:
        version = request.headers.get("x-langfuse-ingestion-version", "")
        if version and (not version.isdigit() or int(version) > 4):
            raise _BadRequestError("Unsupported x-langfuse-ingestion-version")


def _event_fault(event: dict[str, Any]) -> str:
    """What is wrong with an event, if anything."""
    if event.get("type") != "score-create":
        return "Event type not accepted"
    score = event.get("body", {})
    try:
        datetime.fromisoformat(event["timestamp"])
    except (KeyError, ValueError):
        return "Invalid request data: timestamp"
    if not {"name", "value", "traceId"} <= score.keys():
        return "Invalid request data"
    if not isinstance(score["value"], int | float):
        return "Invalid request data: value"
    environment = score.get("environment", "default")
    return "" if _ENVIRONMENT.fullmatch(environment) else "Invalid environment"


class _BadRequestError(Exception):
    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def _reply(status: int, values: dict[str, Any]) -> Reply:
    return Reply(status, json.dumps(values).encode(), _JSON)


def _decode(request: Request) -> ExportTraceServiceRequest:
    body = request.body
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError) as error:
            raise _BadRequestError("Failed to decompress body") from error
    elif encoding != "identity":
        raise _BadRequestError(f"Unsupported content encoding {encoding}", 415)
    kind = request.headers.get("content-type", "").partition(";")[0]
    try:
        if kind == "application/x-protobuf":
            return ExportTraceServiceRequest.FromString(body)
        if kind == "application/json":
            return json_format.ParseDict(_with_ids(json.loads(body)), ExportTraceServiceRequest())
    except (DecodeError, ValueError, json_format.ParseError) as error:
        raise _BadRequestError("Failed to parse OTLP body") from error
    raise _BadRequestError(f"Unsupported content type {kind}", 415)


def _with_ids(value: Any) -> Any:
    """OTLP/JSON writes ids in hex where protobuf's JSON has base64."""
    if isinstance(value, list):
        return [_with_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(binascii.unhexlify(each)).decode()
        if key in ("traceId", "spanId", "parentSpanId") and isinstance(each, str)
        else _with_ids(each)
        for key, each in value.items()
    }


def _check_ids(exported: ExportTraceServiceRequest) -> None:
    """One span without valid ids fails its whole batch."""
    for resource in exported.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                if len(span.trace_id) != 16 or not any(span.trace_id):
                    raise _BadRequestError("Invalid trace id")
                if len(span.span_id) != 8 or not any(span.span_id):
                    raise _BadRequestError("Invalid span id")
                if len(span.parent_span_id) not in (0, 8):
                    raise _BadRequestError("Invalid parent span id")
