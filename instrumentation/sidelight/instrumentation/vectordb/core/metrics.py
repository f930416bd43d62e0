"""The metrics of database calls, recorded a moment later and off the caller's path.

An SDK takes some 10 µs to record one value, and a search records four. The caller only
leaves what is known of its call in a bounded queue; a thread that sleeps while nothing happens
empties it, and so does every collection, so that none is late for an export.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.labels import CallLabels
from sidelight.instrumentation.vectordb.core.target import Attributes

MAX_QUEUED_CALLS: Final = 8_192
# How long calls gather before they are recorded together.
_GATHER_SECONDS: Final = 0.1

_Record = Callable[[int | float, Attributes, Context | None], None]


def _histogram(meter: Meter, name: str) -> _Record:
    metric = names.METRICS[name]
    try:
        histogram = meter.create_histogram(
            name,
            metric.unit,
            metric.meaning,
            explicit_bucket_boundaries_advisory=metric.buckets,
        )
    except TypeError:
        # The API takes bucket bounds since 1.30; before, the SDK's own bounds have to do.
        histogram = meter.create_histogram(name, metric.unit, metric.meaning)
    return _with_context(histogram.record)


def _counter(meter: Meter, name: str) -> _Record:
    metric = names.METRICS[name]
    return _with_context(meter.create_counter(name, metric.unit, metric.meaning).add)


def _with_context(record: Callable[..., None]) -> _Record:
    """`record` of an instrument, with a context that names the span of an exemplar.

    The API takes it since 1.28; before, there are no exemplars.
    """
    if "context" in inspect.signature(record).parameters:
        return record
    return lambda amount, attributes, _context: record(amount, attributes)


class CallMetrics:
    """The instruments of one client library and the queue in front of them."""

    def __init__(
        self, system: str, meter: Meter, fault: Callable[[str, BaseException], None]
    ) -> None:
        """`fault(where, error)` hears of what fails on the thread."""
        self._fault = fault
        self._labels: Final = CallLabels(system)
        self._duration: Final = _histogram(meter, names.DB_CLIENT_DURATION)
        self._rows: Final = _histogram(meter, names.DB_CLIENT_RETURNED_ROWS)
        self._top_score: Final = _histogram(meter, names.VECTOR_TOP_SCORE)
        self._score_gap: Final = _histogram(meter, names.VECTOR_SCORE_GAP_SIZE)
        self._empty: Final = _counter(meter, names.VECTOR_EMPTY_SEARCHES)
        self._written: Final = _counter(meter, names.VECTOR_RECORDS_WRITTEN)
        self._deleted: Final = _counter(meter, names.VECTOR_RECORDS_DELETED)
        self.faults: Final = _counter(meter, names.INSTRUMENTATION_FAULTS)
        self._dropped = 0
        self._reset()
        dropped = names.METRICS[names.INSTRUMENTATION_DROPPED]
        meter.create_observable_counter(
            names.INSTRUMENTATION_DROPPED,
            [_report_dropped(weakref.ref(self))],
            dropped.unit,
            dropped.meaning,
        )
        # A child process has no threads but the one that forked.
        after_fork = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (after_fork() or _nothing)())

    def put(self, call: DatabaseCall) -> None:
        """Leaves an ended call to be recorded."""
        if len(self._queue) == MAX_QUEUED_CALLS:
            self._dropped += 1
        self._queue.append(call)
        if not self._awake:
            self._wake()

    def drain(self) -> None:
        """Records every call that is queued."""
        with self._draining:
            while self._queue:
                call = self._queue.popleft()
                try:
                    self._record(call)
                except Exception as error:  # noqa: BLE001
                    self._fault("metrics", error)

    def dropped(self) -> int:
        """Calls that were not recorded because the queue was full."""
        return self._dropped

    def _reset(self) -> None:
        # What a child finds in it is recorded by its parent.
        self._queue: deque[DatabaseCall] = deque(maxlen=MAX_QUEUED_CALLS)
        self._awake = False
        self._waking = threading.Event()
        self._draining = threading.RLock()
        self._thread: threading.Thread | None = None

    def _wake(self) -> None:
        self._awake = True
        if self._thread is None:
            self._thread = threading.Thread(
                target=_run, args=(weakref.ref(self), self._waking), name="sidelight-vectordb"
            )
            self._thread.daemon = True
            self._thread.start()
        self._waking.set()

    def sleep(self) -> None:
        """Lets the next call wake the thread again."""
        self._waking.clear()
        self._awake = False

    def _record(self, call: DatabaseCall) -> None:
        seconds = call.busy_seconds
        if call.target is None or seconds is None:
            return
        context = None
        if call.exemplar is not None:
            context = set_span_in_context(NonRecordingSpan(call.exemplar), Context())
        attributes = self._labels.of_call(call)
        self._duration(seconds, attributes, context)
        if call.failure is not None:
            return
        if call.rows is not None:
            self._rows(call.rows, attributes, context)
        self._record_scores(call, context)
        if call.empty_queries:
            self._empty(call.empty_queries, attributes, context)
        if call.written_records:
            self._written(call.written_records, attributes, context)
        if call.deleted_records:
            self._deleted(call.deleted_records, attributes, context)

    def _record_scores(self, call: DatabaseCall, context: Context | None) -> None:
        scales = call.scales_of_scores or [call.scale()] * len(call.scores)
        for (top, _, _, gap), scale in zip(call.scores, scales, strict=True):
            attributes = self._labels.of_scores(call, scale)
            if attributes is None:
                continue
            # Histograms take no negative values; the lowest bucket is that of zero and below.
            self._top_score(max(top, 0.0), attributes, context)
            if gap is not None and isfinite(gap):
                self._score_gap(gap, attributes, context)


def _run(owner_ref: weakref.ref[CallMetrics], waking: threading.Event) -> None:
    """Empties the queue whenever something is in it, until its owner is gone."""
    while waking.wait():
        time.sleep(_GATHER_SECONDS)
        owner = owner_ref()
        if owner is None:
            return
        # In this order a call that comes in between wakes the thread once more.
        owner.sleep()
        owner.drain()
        del owner


def _report_dropped(
    owner_ref: weakref.ref[CallMetrics],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """A callback that is asked at every collection, before the other instruments are."""

    def report(_options: CallbackOptions) -> Iterable[Observation]:
        owner = owner_ref()
        if owner is None:
            return []
        owner.drain()
        return [Observation(owner.dropped(), {})]

    return report


def _nothing() -> None:
    """There is nothing to do."""
