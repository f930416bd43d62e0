"""The way of all received requests: check, process, store on disk, measure."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from sidelight import conventions as c
from sidelight.collector.ingest.refusals import Refusals
from sidelight.collector.log.duplicates import Duplicates
from sidelight.collector.log.errors import LogBusyError, LogFailedError
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.span_metrics import SpanMetrics
from sidelight.collector.processors.common.processed import Processed
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.otlp.request import CheckedRequest, MalformedError, checked, count
from sidelight.otlp.salvage import salvage
from sidelight.otlp.signals import Signal
from sidelight.otlp.stamp import Stamp

_logger = logging.getLogger(__name__)

MAX_TURN_SECONDS = 0.003
"""How long a request is processed before others have a turn; a step more may be added."""


class Receipt(NamedTuple):
    """An acknowledgement. `rejected` of the items were refused, because of `reason`.

    `rejected` is OTLP's word, in its partial success.
    """

    rejected: int = 0
    reason: str = ""


_ALL_STORED = Receipt()


class _Refused(NamedTuple):
    """Invalid items of a request; `reason` is a label value."""

    reason: str
    sentence: str
    items: int


class UnavailableError(Exception):
    """Nothing was stored; the sender should send again after `retry_after_seconds`.

    `is_busy`: too much is waiting for the disk (429); otherwise the disk has a fault (503).
    """

    def __init__(self, message: str, *, is_busy: bool, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.is_busy = is_busy
        self.retry_after_seconds = retry_after_seconds


class Intake:
    """Takes received requests: checks, processes and stores them, then measures them."""

    def __init__(
        self,
        storage: Duplicates,
        registry: Registry,
        received_metrics: ReceivedMetrics,
        pipeline: Pipeline | None = None,
        metrics: MetricsConfig | None = None,
    ) -> None:
        """Without a `pipeline`, spans are made canonical and nothing is removed from them."""
        self._storage = storage
        self._pipeline = pipeline or Pipeline()
        self._span_metrics = SpanMetrics(registry, metrics or MetricsConfig())
        self._received_metrics = received_metrics
        self._received = registry.counter(c.COLLECTOR_RECEIVED, ("signal",))
        self._duplicates = registry.counter(c.COLLECTOR_DUPLICATES, ("signal",))
        self.refusals = Refusals(registry)
        self._redacted = registry.counter(c.COLLECTOR_REDACTED, ("rule",))
        self._faults = registry.counter(c.COLLECTOR_EXTENSION_FAULTS, ("extension",))
        self._dropped = registry.counter(c.COLLECTOR_EXTENSION_DROPPED, ("extension",))

    def process_with(self, pipeline: Pipeline) -> None:
        """Use this pipeline for requests from now on."""
        self._pipeline = pipeline

    async def accept(
        self,
        signal: Signal,
        body: bytes,
        stamp: Stamp | None = None,
        *,
        already_refused: int = 0,
    ) -> Receipt:
        """Store a serialised export request; on return it is durable.

        Invalid items are refused, the others are stored. `stamp` sets the tenant before anything
        else reads the request. `already_refused`: invalid items that the receiver left out.

        Raises `MalformedError` if no item is valid, and `UnavailableError` if the request cannot
        be stored now. In both cases nothing of it is kept.
        """
        # Parsed even if nothing will change: one malformed item would cost a backend the batch.
        (request, is_clean), body, invalid = self._parsed(signal, body)
        invalid += already_refused
        if stamp is not None and stamp.apply(request):
            # Inserting the bytes is cheaper than serialising all of the request again.
            body = stamp.spliced(body) or request.SerializeToString()
        processed = await self._process(signal, CheckedRequest(request, is_clean), body)
        if processed.changed:
            body = request.SerializeToString()
        refused = _refused(signal, processed, invalid)
        receipt = _receipt(refused)
        items = count(request)
        # The bytes are kept while they wait for the disk; what was parsed takes as much again.
        del request
        is_new = not items or await self._append(signal, body, items)
        # Only now: a request that could not be stored is sent again, and would count twice.
        for refusal in refused:
            self.refusals.note(signal, refusal.reason, refusal.sentence, refusal.items)
        if not is_new:
            # The first one was measured.
            self._duplicates.labels(signal).inc(items)
            return receipt
        self._received.labels(signal).inc(items)
        self._guard(lambda: self._measure(signal, body, processed))
        return receipt

    def _parsed(self, signal: Signal, body: bytes) -> tuple[CheckedRequest, bytes, int]:
        """The request, its bytes, and the number of invalid items left out of both."""
        try:
            return checked(signal, body), body, 0
        except MalformedError as malformed:
            # Only then item by item, which costs far more than parsing a valid request.
            try:
                salvaged = salvage(signal, body)
                if not salvaged.valid:
                    raise malformed
                return checked(signal, salvaged.body), salvaged.body, salvaged.invalid
            except (DecodeError, MalformedError):
                self.refusals.note(signal, "malformed", "a request is not valid OTLP")
                raise malformed from None

    async def _process(self, signal: Signal, came: CheckedRequest, body: bytes) -> Processed:
        """Process a request, and let other requests have a turn in between."""
        if signal == "metrics":
            return Processed()
        if signal == "traces":
            steps = self._pipeline.traces_in_steps(came.request, body, is_clean=came.is_clean)
        else:
            steps = self._pipeline.logs_in_steps(came.request)
        turn_ends = time.perf_counter() + MAX_TURN_SECONDS
        while True:
            try:
                next(steps)
            except StopIteration as end:
                processed: Processed = end.value
                return processed
            if time.perf_counter() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.perf_counter() + MAX_TURN_SECONDS

    async def _append(self, signal: Signal, body: bytes, items: int) -> bool:
        """Whether it was stored now; False if an equal request was stored before."""
        try:
            return await self._storage.append(signal, body, items)
        except LogBusyError as error:
            sentence = "too much waits for the disk; use a faster disk, or fewer senders"
            self.refusals.note(signal, "busy", sentence, items)
            # The disk works, so there will be room soon.
            raise UnavailableError(str(error), is_busy=True, retry_after_seconds=1) from error
        except LogFailedError as error:
            self.refusals.count(signal, error.reason, items)
            message = f"the collector cannot write its log: {error}"
            raise UnavailableError(message, is_busy=False, retry_after_seconds=5) from error

    def _measure(self, signal: Signal, body: bytes, processed: Processed) -> None:
        if signal == "metrics":
            self._received_metrics.ingest(ExportMetricsServiceRequest.FromString(body))
        for rule, texts in processed.redacted.items():
            self._redacted.labels(rule).inc(texts)
        for extension, spans in processed.extension_faults.items():
            self._faults.labels(extension).inc(spans)
        for extension, spans in processed.dropped.items():
            self._dropped.labels(extension).inc(spans)
        self._span_metrics.observe(processed.measured)

    def _guard(self, measure: Callable[[], None]) -> None:
        """Measure, and log a failure: the request is stored and must be acknowledged."""
        try:
            measure()
        except Exception:
            _logger.exception("cannot measure a received request; it is stored")


def _receipt(refused: Sequence[_Refused]) -> Receipt:
    if not refused:
        return _ALL_STORED
    return Receipt(
        sum(refusal.items for refusal in refused),
        "; ".join(sorted(refusal.sentence for refusal in refused)),
    )


def _refused(signal: Signal, processed: Processed, invalid: int) -> list[_Refused]:
    """What is left out of a request. The sentences go to sender and log, and quote no content."""
    refused = []
    if invalid:
        refused.append(
            _Refused("malformed", f"{invalid} of the {signal} are not valid OTLP", invalid)
        )
    for refusal, items in processed.refused.items():
        refused.append(_Refused(refusal.label, refusal.sentence, items))
    return refused
