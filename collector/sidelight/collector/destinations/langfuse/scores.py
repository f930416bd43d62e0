"""Sends scores to Langfuse in batches, by a subscription of their own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sidelight.base.executor import off_loop_if
from sidelight.base.http_client.client import Answer
from sidelight.base.marks import mark_of
from sidelight.collector.destinations.common.answer import plain
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry
from sidelight.collector.destinations.common.scores import Score, scores
from sidelight.collector.destinations.langfuse import exporter as langfuse
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.langfuse.score_names import score_names
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

# The endpoint for single scores gives them the time at which they come.
INGESTION_PATH = "/api/public/ingestion"
MAX_SCORES = 1_000
"""Scores in one request: a third of a megabyte, where Langfuse takes 4.5."""
CONCURRENCY = 4
"""Requests at the same time: one takes some 75 ms, however few scores it has."""
_JSON = {"Content-Type": "application/json"}
# Answers to single scores of a batch that a later attempt may change.
_RETRIED = (401, 403, 429)


class LangfuseScores(HttpExporter):
    """Sends the scores of a record. Repeated ones replace themselves."""

    def __init__(self, config: LangfuseDestination) -> None:
        keys = langfuse.credentials(config)
        super().__init__(config, paths={"traces": INGESTION_PATH}, credentials=keys)
        self._attributes = config.scores
        self._names = score_names(config.scores)

    async def send(self, record: Record) -> Outcome:
        """Send all scores of the record. A rejected score does not stop the others."""
        decode = partial(scores, record, self._attributes)
        to_send = await off_loop_if(record.is_large, decode)
        rejected, reason, said = 0, "", ""
        for start in range(0, len(to_send), MAX_SCORES):
            outcome = await self._send(to_send[start : start + MAX_SCORES])
            if not isinstance(outcome, Delivered):
                return outcome
            rejected += outcome.rejected
            reason, said = outcome.reason or reason, outcome.said or said
        if rejected and rejected == len(to_send):
            # Without one that is stored, the fault may be the endpoint's.
            return Rejected(reason, 400, said)
        # A span can have several scores, but what is counted are spans.
        return Delivered(min(rejected, record.items), reason, said, was_sent=bool(to_send))

    async def send_nothing(self, signal: Signal) -> Outcome:  # noqa: ARG002 (Exporter)
        """Send a batch without scores."""
        return await self._send([])

    async def _send(self, batch: list[Score]) -> Outcome:
        events = [_event(score, self._names[score.name]) for score in batch]
        return await self.export(INGESTION_PATH, json.dumps({"batch": events}).encode(), _JSON)

    def _judge(self, answer: Answer, url: str) -> Outcome:
        outcome = super()._judge(answer, url)
        if not isinstance(outcome, Delivered):
            return outcome
        errors = _errors(answer)
        if not errors:
            return Delivered()
        statuses = [status for error in errors if isinstance(status := error.get("status"), int)]
        retried = [status for status in statuses if status in _RETRIED or status >= 500]
        said = plain(str(errors[0].get("error") or errors[0].get("message") or ""))
        if retried:
            return Retry(
                f"{url} does not accept scores now (status {retried[0]}); check "
                f"{self._credentials.sources} and the log of Langfuse",
                cause=f"http_{retried[0]}",
                said=said,
                mark=mark_of("application/json", answer.body),
            )
        reason = f"{url} rejects scores; see what it says in the dead letters"
        return Delivered(len(errors), reason, said)


def _event(score: Score, name: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(score.time_ns / 1e9, UTC)
    body = {
        # Langfuse replaces a score with the same id.
        "id": score.id,
        "traceId": score.trace_id,
        "observationId": score.span_id,
        "name": name,
        "value": score.value,
        "dataType": "BOOLEAN" if score.is_boolean else "NUMERIC",
        **({"environment": score.environment} if score.environment else {}),
    }
    return {
        "id": score.id,
        "type": "score-create",
        # The time of the score, not of the request.
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "body": body,
    }


def _errors(answer: Answer) -> list[dict[str, Any]]:
    """What Langfuse answers of the scores that it did not take; it takes the others."""
    try:
        errors = json.loads(answer.body)["errors"]
    except (ValueError, KeyError, TypeError):
        return []
    return (
        [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    )
