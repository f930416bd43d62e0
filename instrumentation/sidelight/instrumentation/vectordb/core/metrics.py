"""The metrics of database calls, recorded a moment later and off the caller's path.

An SDK takes some 10 µs to record one value, and a search records four. The caller only
leaves what is known of its call in a bounded queue; a thread that sleeps while nothing happens
empties it, and so does every collection, so that none is late for an export.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall

MAX_QUEUED_CALLS: Final = 8_192
# How long calls gather before they are recorded together.
_GATHER_SECONDS: Final = 0.1


def _histogram(meter: Meter, name: str) -> Histogram:
    metric = names.METRICS[name]
    try:
        return meter.create_histogram(
            name,
            metric.unit,
            metric.meaning,
            explicit_bucket_boundaries_advisory=metric.buckets,
        )
    except TypeError:
        # The API takes bucket bounds since 1.30; before, the SDK's own bounds have to do.
        return meter.create_histogram(name, metric.unit, metric.meaning)


def _counter(meter: Meter, name: str) -> Counter:
    metric = names.METRICS[name]
    return meter.create_counter(name, metric.unit, metric.meaning)


class CallMetrics:
    """The instruments of one client library and the queue in front of them."""

    def __init__(self, meter: Meter, fault: Callable[[str, BaseException], None]) -> None:
        """`fault(where, error)` hears of what fails on the thread."""
        self._fault = fault
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
        target, seconds = call.target, call.busy_seconds
        if target is None or seconds is None:
            return
        context = None
        if call.exemplar is not None:
            context = set_span_in_context(NonRecordingSpan(call.exemplar), Context())
        attributes: Mapping[str, Any] = target.metric_attributes(call.metric_type, call.ranker)
        failure = call.failure
        if failure is not None:
            attributes = {**attributes, names.ERROR_TYPE: failure.error_type}
            if failure.code is not None:
                attributes[names.DB_STATUS_CODE] = failure.code
            self._duration.record(seconds, attributes, context)
            return
        self._duration.record(seconds, attributes, context)
        if call.rows is not None:
            self._rows.record(call.rows, attributes, context)
        for top, _, _, gap in call.scores:
            # Histograms take no negative values; the lowest bucket is that of zero and below.
            self._top_score.record(max(top, 0.0), attributes, context)
            if gap is not None:
                self._score_gap.record(gap, attributes, context)
        if call.empty_queries:
            self._empty.add(call.empty_queries, attributes, context)
        if call.written_records:
            self._written.add(call.written_records, attributes, context)
        if call.deleted_records:
            self._deleted.add(call.deleted_records, attributes, context)


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
