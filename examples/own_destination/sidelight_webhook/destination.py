"""A destination in a distribution of your own: tells a webhook which requests failed.

    pip install .
    sidelight up --config sidelight.yaml

Like Sidelight's own destinations it has a cursor, retries, rules, sampling and metrics: an exporter
says only what came of one batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidelight.base.check import Check
from sidelight.base.http_client.client import NoAnswerError
from sidelight.collector.destinations.common.config import Name, UrlDestination
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal


class WebhookDestination(UrlDestination):
    """Names of failed spans, to a webhook."""

    type: Literal["webhook"]
    name: Name = "webhook"
    label: str = "sidelight"


class Webhook:
    """Posts the names of the failed spans of each batch."""

    signals: frozenset[Signal] = frozenset({"traces"})

    def __init__(self, config: WebhookDestination) -> None:
        self.name = config.name
        self.pace_items_per_second = config.pace_items_per_second
        self._label = config.label
        self._client = config.http_client(config.url, config.timeout_seconds)

    async def send(self, record: Record) -> Outcome:
        """Post once for the batch; a webhook that does not answer 2xx is asked again later."""
        if not (failed := _failed(record.body())):
            return Delivered(was_sent=False)
        body = json.dumps({"text": f"{self._label}: {', '.join(failed)}"}).encode()
        try:
            answer = await self._client.post("", body, {"Content-Type": "application/json"})
        except NoAnswerError as error:
            return Retry(str(error), cause=error.cause)
        if 200 <= answer.status < 300:
            return Delivered()
        reason = f"{self._client.url} answered {answer.status}; look into its log"
        return Retry(reason, cause=f"http_{answer.status}")

    async def send_nothing(self, signal: Signal) -> None:
        """None: a webhook has no request that says nothing."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _failed(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.status.code == Status.STATUS_CODE_ERROR
    ]


async def check(name: str, config: WebhookDestination) -> Check:
    """For `sidelight doctor`: whether anything answers, without posting."""
    client = config.http_client(config.url, config.timeout_seconds)
    try:
        answer = await client.get("")
    except NoAnswerError as error:
        return Check(name, "fail", str(error), "Correct the url, or start the webhook.")
    finally:
        client.close()
    return Check(name, "ok", f"{config.url} answers {answer.status}")


WEBHOOK = DestinationType(
    name="webhook",
    Config=WebhookDestination,
    signals=lambda _: ("traces",),
    build=Webhook,
    check=check,
    page=Path(__file__),
)
