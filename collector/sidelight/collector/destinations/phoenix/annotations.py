"""Sends scores to Phoenix as span annotations, which need the span to be stored before."""

from __future__ import annotations

import asyncio
import json
import re
import time
from functools import partial
from typing import Any

from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import off_loop_if
from sidelight.base.http_client.client import Answer, NoAnswerError
from sidelight.collector.destinations.common.answer import judge, no_answer
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.destinations.common.scores import Score, scores
from sidelight.collector.destinations.phoenix import exporter as phoenix
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

# With sync=true Phoenix answers once it has stored them, with 404 and the ids of unknown spans.
ANNOTATIONS_PATH = "/v1/span_annotations?sync=true"
# A span that is not stored by then has been dropped by Phoenix, or was never sent.
GIVE_UP_SECONDS = 600.0
_MAX_ANNOTATIONS = 500
_POLL_SECONDS = 0.5
_JSON = {"Content-Type": "application/json"}


class PhoenixAnnotations(HttpExporter):
    """Annotates the spans of a record once Phoenix has stored them."""

    def __init__(self, config: PhoenixDestination) -> None:
        self._key = phoenix.credentials(config)
        super().__init__(config, paths={"traces": ANNOTATIONS_PATH}, credentials=self._key)
        self._attributes = config.scores

    async def send(self, record: Record) -> Outcome:
        """Send the annotations of the record. Repeated ones replace themselves."""
        decode = partial(scores, record, self._attributes)
        to_send = await off_loop_if(record.is_large, decode)
        rejected, reason = 0, ""
        for start in range(0, len(to_send), _MAX_ANNOTATIONS):
            chunk = to_send[start : start + _MAX_ANNOTATIONS]
            outcome = await self._annotate(chunk, record.time_ns)
            if not isinstance(outcome, Delivered):
                return outcome
            rejected += outcome.rejected
            reason = outcome.reason or reason
        return Delivered(min(rejected, record.items), reason, was_sent=bool(to_send))

    async def send_nothing(self, signal: Signal) -> None:
        """None: nothing is known of how Phoenix answers a request without annotations."""

    async def _annotate(self, left: list[Score], since_ns: int) -> Outcome:
        rejected = 0
        deadline = time.monotonic() + self.timeout_seconds
        while left:
            body = json.dumps({"data": [_annotation(score) for score in left]}).encode()
            try:
                answer = await self.post(ANNOTATIONS_PATH, body, _JSON)
            except (NoAnswerError, ConfigError) as error:
                return no_answer(error, sent_bytes=0, accepted_bytes=0)
            missing = _missing(answer)
            if not missing:
                outcome = judge(
                    answer, url=self.url + ANNOTATIONS_PATH, credentials=self._key.sources
                )
                return Delivered(rejected) if isinstance(outcome, Delivered) else outcome
            if time.time_ns() - since_ns > GIVE_UP_SECONDS * 1e9:
                # Phoenix takes all annotations of a request or none.
                stored = [score for score in left if score.span_id not in missing]
                rejected += len(left) - len(stored)
                left = stored
            elif time.monotonic() < deadline:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return Retry(
                    f"{self.url} has not yet stored {len(missing)} spans to annotate; "
                    "they wait for at most ten minutes",
                    cause="not_stored",
                    is_destinations=True,
                )
        return Delivered(rejected, "Phoenix did not store the spans")


def _annotation(score: Score) -> dict[str, Any]:
    return {
        "span_id": score.span_id,
        "name": score.name,
        # Not a person and not a model, in Phoenix's terms.
        "annotator_kind": "CODE",
        "result": {"score": score.value},
        # Phoenix replaces an annotation with the same identifier.
        "identifier": "sidelight",
    }


def _missing(answer: Answer) -> set[str]:
    """The ids of spans that Phoenix does not have, by its answer."""
    text = answer.body.decode("utf-8", "replace")
    # A 404 without these words is one of a wrong URL.
    if answer.status != 404 or "do not exist" not in text:
        return set()
    return set(re.findall(r"\b[0-9a-f]{16}\b", text))
