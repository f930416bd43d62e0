"""Sends to Splunk's HTTP Event Collector (HEC): events over HTTP with a token.

Status codes and HEC's own codes are documented in Splunk's "Troubleshoot HTTP Event Collector".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from isal import igzip

from sidelight.base.configuration.section import Secret
from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.client import Answer
from sidelight.collector.destinations.common.credentials import header_value, required_value
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.destinations.splunk_hec.config import SplunkHecDestination
from sidelight.collector.destinations.splunk_hec.events import events
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

EVENT_PATH = "/services/collector/event"
HEALTH_PATH = "/services/collector/health"
NO_DATA = 5
"""HEC's code for a request without events and with a valid token."""

_HEADERS = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
# HEC answers 400 to these, but the batch is not at fault: the token or its settings are.
_DESTINATION_FAULTS = {
    7: "the token may not write to the index: correct the index, or allow it for the token",
    10: "the token uses indexer acknowledgement, which needs a channel: use a token without it",
    11: "the token uses indexer acknowledgement, which needs a channel: use a token without it",
    14: "the token uses indexer acknowledgement, which is disabled: use a token without it",
}


@dataclass(frozen=True, slots=True)
class HecToken:
    """The token, in HEC's own form of the Authorization header."""

    token: Secret

    @property
    def sources(self) -> str:
        return str(self.token)

    def headers(self) -> dict[str, str]:
        token = header_value(required_value(self.token), self.token)
        return {"Authorization": f"Splunk {token}"}


def build(config: SplunkHecDestination) -> SplunkHecExporter:
    """The exporter. Does not connect and reads no secret."""
    return SplunkHecExporter(config)


class SplunkHecExporter(HttpExporter):
    """Sends each record as one compressed request of events."""

    def __init__(self, config: SplunkHecDestination) -> None:
        self._token = HecToken(config.token)
        paths: dict[Signal, str] = dict.fromkeys(config.signals, EVENT_PATH)
        super().__init__(config, paths=paths, credentials=self._token)
        self._envelope = {"source": config.source, "sourcetype": config.sourcetype}
        if config.index is not None:
            self._envelope["index"] = config.index

    async def send(self, record: Record) -> Outcome:
        """Send one record. Faults of network, HEC and token are outcomes."""
        # On a thread: a span takes 40 µs, and hundreds would hold up the other destinations.
        body = await run_in_thread(partial(_encoded, record, self._envelope), "sidelight-splunk")
        return await self.export(EVENT_PATH, body, _HEADERS)

    async def send_nothing(self, signal: Signal) -> Outcome | None:  # noqa: ARG002 (Exporter)
        """Send a request without events. HEC checks the token before it says that none is there."""
        return await self.export(EVENT_PATH, b"", {"Content-Type": "application/json"})

    def _judge(self, answer: Answer, url: str) -> Outcome:
        code = hec_code(answer) if answer.status == 400 else -1
        if code == NO_DATA:
            return Delivered()
        fault = _DESTINATION_FAULTS.get(code)
        if fault is not None:
            return Retry(f"{url} answered 400: {fault}", cause="http_400", is_destinations=True)
        return super()._judge(answer, url)


def _encoded(record: Record, envelope: Mapping[str, str]) -> bytes:
    body = events(record.signal, record.body(), envelope)
    # ISA-L at level 1 takes a tenth of zlib's time.
    return igzip.compress(body, 1)


def hec_code(answer: Answer) -> int:
    """HEC's own code in an answer; -1 if there is none."""
    try:
        code = json.loads(answer.body)["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return -1
    return code if isinstance(code, int) else -1
