"""Sends traces to Arize Phoenix, over OTLP/HTTP.

HTTP has no size limit there, unlike gRPC (4 MiB), and only over HTTP does Phoenix read the header
that names the project.

Phoenix answers 200 before it stores: up to 20,000 spans wait in its memory and are lost if it
stops, while SQLite on two cores stores about 150 a second. This exporter therefore asks Phoenix
how far it has come, and sends at most `WINDOW_SPANS` ahead. The rest waits in the log, on disk.
That adapts to the pace of any Phoenix. `pace_items_per_second` applies in addition.
"""

from __future__ import annotations

import asyncio
import json
import re
import time

from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import off_loop_if
from sidelight.base.http_client.client import NoAnswerError
from sidelight.collector.destinations.common.credentials import Bearer
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.destinations.phoenix.backlog import Backlog
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.log.record import Record

TRACES_PATH = "/v1/traces"
VERSION_PATH = "/arize_phoenix_version"
GRAPHQL_PATH = "/graphql"
# Lost if Phoenix crashes; seven seconds of work for a Phoenix on SQLite.
WINDOW_SPANS = 1000
# Phoenix takes about 3 ms to look up a sample.
_SAMPLES = 4
_POLL_SECONDS = 0.25


def credentials(config: PhoenixDestination) -> Bearer:
    """The API key, which is optional."""
    return Bearer(config.api_key)


def build(config: PhoenixDestination) -> PhoenixExporter:
    """The exporter to the configured project.

    Raises `ConfigError` if a header cannot hold the name of the project.
    """
    if not re.fullmatch(r"[\x20-\x7e]*", config.project or ""):
        raise ConfigError(f"destination {config.name}: project must be ASCII")
    return PhoenixExporter(config)


class PhoenixExporter(HttpExporter):
    """Sends no faster than Phoenix stores."""

    def __init__(self, config: PhoenixDestination) -> None:
        super().__init__(
            config,
            paths={"traces": TRACES_PATH},
            credentials=credentials(config),
            # In Phoenix the header wins over the resource attribute, which `project_from` sets.
            headers=(
                {"x-project-name": config.project}
                if config.project and not config.project_from
                else None
            ),
        )
        self._backlog = Backlog()

    async def send(self, record: Record) -> Outcome:
        """Wait until Phoenix has stored enough of the earlier spans, then send one record."""
        stalled = await self._wait_for_room()
        if stalled is not None:
            return stalled
        outcome = await super().send(record)
        if isinstance(outcome, Delivered):
            self._backlog.add(await off_loop_if(record.is_large, record.body))
        return outcome

    async def _wait_for_room(self) -> Retry | None:
        progress = time.monotonic()
        while self._backlog.spans >= WINDOW_SPANS:
            stored = await self._stored(self._backlog.samples(_SAMPLES))
            if stored is None:
                # It is down or cannot be asked. Its 503 for a full queue still slows us down.
                self._backlog.clear()
            elif self._backlog.confirm(stored):
                progress = time.monotonic()
            elif time.monotonic() - progress > self.timeout_seconds:
                # Phoenix may have dropped the samples: they must not block us for ever.
                waiting = self._backlog.spans
                self._backlog.clear()
                return Retry(
                    f"{self.url} has {waiting} spans in its queue and has stored none for "
                    f"{self.timeout_seconds:g} s; check its log and its disk",
                    cause="not_stored",
                    is_destinations=True,
                )
            else:
                await asyncio.sleep(_POLL_SECONDS)
        return None

    async def _stored(self, span_ids: list[str]) -> set[str] | None:
        """The spans that Phoenix has stored; None if it does not answer the question."""
        # One query for all samples, each under an alias: an alias must start with a letter.
        fields = " ".join(
            f's{span_id}: getSpanByOtelId(spanId: "{span_id}") {{ id }}' for span_id in span_ids
        )
        query = json.dumps({"query": f"{{ {fields} }}"}).encode()
        try:
            answer = await self.post(GRAPHQL_PATH, query, {"Content-Type": "application/json"})
            spans = json.loads(answer.body)["data"]
            return {span_id for span_id in span_ids if spans[f"s{span_id}"] is not None}
        except (NoAnswerError, ConfigError, ValueError, KeyError, TypeError):
            return None
