"""The metrics of database calls: one histogram or counter each, made once per client library."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Counter, Histogram, Meter

from sidelight import conventions as names


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


class Meters:
    """The instruments that database calls record to, of one client library."""

    def __init__(self, meter: Meter) -> None:
        self.duration: Final = _histogram(meter, names.DB_CLIENT_DURATION)
        self.rows: Final = _histogram(meter, names.DB_CLIENT_RETURNED_ROWS)
        self.top_score: Final = _histogram(meter, names.VECTOR_TOP_SCORE)
        self.score_gap: Final = _histogram(meter, names.VECTOR_SCORE_GAP_SIZE)
        self.empty: Final = _counter(meter, names.VECTOR_EMPTY_SEARCHES)
        self.written: Final = _counter(meter, names.VECTOR_RECORDS_WRITTEN)
        self.deleted: Final = _counter(meter, names.VECTOR_RECORDS_DELETED)
        self.faults: Final = _counter(meter, names.INSTRUMENTATION_FAULTS)

    def fault(self, where: str) -> None:
        """Counts an error inside the instrumentation that was swallowed."""
        self.faults.add(1, {"sidelight.part": where})
