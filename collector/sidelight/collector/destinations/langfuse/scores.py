"""Sends scores to Langfuse, one request for each, by a subscription of their own."""

from __future__ import annotations

import json
from functools import partial

from sidelight.base.executor import off_loop_if
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry
from sidelight.collector.destinations.common.scores import Score, scores
from sidelight.collector.destinations.langfuse import exporter as langfuse
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

SCORES_PATH = "/api/public/scores"
_JSON = {"Content-Type": "application/json"}


class LangfuseScores(HttpExporter):
    """Sends the scores of a record one by one. A retry continues with the score that failed.

    The endpoint takes a single score (Langfuse 4.16).
    """

    def __init__(self, config: LangfuseDestination) -> None:
        keys = langfuse.credentials(config)
        super().__init__(config, paths={"traces": SCORES_PATH}, credentials=keys)
        self._attributes = config.scores
        self._record: Record | None = None
        self._left: list[Score] = []
        self._stored = 0
        self._rejections: list[Rejected] = []

    async def send(self, record: Record) -> Outcome:
        """Send the remaining scores of the record. A rejected score does not stop the others."""
        # A retry passes the same record again.
        if record is not self._record:
            self._record = record
            decode = partial(scores, record, self._attributes)
            # Reversed, because sent scores are removed from the end.
            self._left = (await off_loop_if(record.is_large, decode))[::-1]
            self._stored, self._rejections = 0, []
        while self._left:
            outcome = await self._send(self._left[-1])
            if isinstance(outcome, Retry):
                return outcome
            if isinstance(outcome, Rejected):
                self._rejections.append(outcome)
            else:
                self._stored += 1
            self._left.pop()
        self._record = None
        if not self._rejections:
            return Delivered(was_sent=self._stored > 0)
        rejection = self._rejections[-1]
        # Without one that is stored, the fault may be the endpoint's.
        if not self._stored:
            return rejection
        # A span can have several scores, but what is counted are spans.
        rejected = min(len(self._rejections), record.items)
        return Delivered(rejected, rejection.reason, rejection.said)

    async def send_nothing(self, signal: Signal) -> None:
        """None: the endpoint has no request without a score."""

    async def _send(self, score: Score) -> Outcome:
        body = {
            # Langfuse replaces a score with the same id.
            "id": score.id,
            "traceId": score.trace_id,
            "observationId": score.span_id,
            "name": score.name,
            "value": score.value,
            "dataType": "BOOLEAN" if score.is_boolean else "NUMERIC",
        }
        return await self.export(SCORES_PATH, json.dumps(body).encode(), _JSON)
