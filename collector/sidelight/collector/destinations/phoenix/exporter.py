"""Arize Phoenix: traces over OTLP/HTTP, which has no size cap and knows the project header.

Phoenix says 200 before it stores: up to 20,000 spans wait in its memory, gone if it stops,
while SQLite on two cores stores about 150 a second. So this destination asks Phoenix now
and then how far it has come, and keeps no more than `WINDOW_SPANS` ahead of it; the rest
waits in our log, on disk. That finds the pace of any Phoenix by itself, be it on SQLite or
on PostgreSQL. A configured `pace_items_per_second` holds as well.
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
WINDOW_SPANS = 1000
# A sample costs Phoenix about 3 ms to look up.
_SAMPLES = 4
_POLL_SECONDS = 0.25


def credentials(config: PhoenixDestination) -> Bearer:
    """The API key, if Phoenix wants one."""
    return Bearer(config.api_key)


def build(config: PhoenixDestination) -> PhoenixExporter:
    """The exporter to the configured project.

    Raises `ConfigError` if no header can hold the project's name.
    """
    if not re.fullmatch(r"[\x20-\x7e]*", config.project or ""):
        raise ConfigError(f"destination {config.name}: project must be of ASCII characters")
    return PhoenixExporter(config)


class PhoenixExporter(HttpExporter):
    """Sends no faster than Phoenix stores."""

    def __init__(self, config: PhoenixDestination) -> None:
        super().__init__(
            config,
            paths={"traces": TRACES_PATH},
            credentials=credentials(config),
            # Phoenix heeds the header before the resource, which `project_from` names.
            headers=(
                {"x-project-name": config.project}
                if config.project and not config.project_from
                else None
            ),
        )
        self._backlog = Backlog()

    async def send(self, record: Record) -> Outcome:
        """Wait until Phoenix has stored enough of what it took before, then send one record."""
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
                # It is down, or cannot be asked; its 503 when its queue is full remains.
                self._backlog.clear()
            elif self._backlog.confirm(stored):
                progress = time.monotonic()
            elif time.monotonic() - progress > self.timeout_seconds:
                # The samples may be spans that Phoenix dropped: they must not block for ever.
                waiting = self._backlog.spans
                self._backlog.clear()
                return Retry(
                    f"{self.url} has stored none of the {waiting} spans it took for "
                    f"{self.timeout_seconds:g} s; see its log and its disk"
                )
            else:
                await asyncio.sleep(_POLL_SECONDS)
        return None

    async def _stored(self, span_ids: list[str]) -> set[str] | None:
        """Which of the spans Phoenix has stored, or None if it does not say."""
        fields = " ".join(
            f's{span_id}: getSpanByOtelId(spanId: "{span_id}") {{ id }}' for span_id in span_ids
        )
        query = json.dumps({"query": f"{{ {fields} }}"}).encode()
        try:
            answer = await self.post(GRAPHQL_PATH, query, {"Content-Type": "application/json"})
            found = json.loads(answer.body)["data"]
            return {span_id for span_id in span_ids if found[f"s{span_id}"] is not None}
        except (NoAnswerError, ConfigError, ValueError, KeyError, TypeError):
            return None
