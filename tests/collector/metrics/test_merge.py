"""Several workers' metrics as one: exact sums that never go back, each received series once."""

from __future__ import annotations

import json
import time

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from sidelight import conventions as c
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.family import AnyFamily
from sidelight.collector.metrics.merge import merged, what_stays
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.snapshot import Snapshot
from support.openmetrics import lines, parse

_NOW = 1000.0
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


class _Worker:
    """What a worker measures, on a clock that the test moves."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.time = _NOW
        self.otlp = ReceivedMetrics(self.registry, clock=lambda: self.time)
        self.received = self.registry.counter(c.COLLECTOR_RECEIVED, ("signal",))
        self.lag = self.registry.gauge(c.COLLECTOR_LAG, ("destination",))
        self.size = self.registry.gauge(c.COLLECTOR_LOG_BYTES)
        self.ok = self.registry.gauge(c.COLLECTOR_RELOAD_OK)
        self.duration = self.registry.histogram(c.RETRIEVAL_DURATION, ("outcome",))

    def ingest(self, value: int, *, temporality: int, at: int, name: str = "jobs") -> None:
        """A point of a monotonic sum of one sender."""
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "app"
        metric = resource.scope_metrics.add().metrics.add(name=name)
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
        metric.sum.data_points.add(as_int=value, time_unix_nano=at)
        self.otlp.ingest(request)

    def snapshot(self) -> Snapshot:
        """By way of JSON, as it comes to the supervisor."""
        taken = Snapshot(list(self.registry.families()), [], list(self.otlp.snapshot()))
        return Snapshot.from_json(json.loads(json.dumps(taken.to_json())))


def _body(families: Families, name: str, *, exemplars: bool = False) -> str:
    return "".join(lines(each, exemplars=exemplars) for each in _all(families) if each.name == name)


def _all(families: Families) -> list[AnyFamily]:
    return [family for _, of_source in families.by_source() for family in of_source]


def _merge(*workers: _Worker, gone: Snapshot | None = None) -> Families:
    found = {str(number): each.snapshot() for number, each in enumerate(workers)}
    return merged(found, gone or Snapshot(), _NOW)


@pytest.fixture
def one() -> _Worker:
    return _Worker()


@pytest.fixture
def two() -> _Worker:
    return _Worker()


class TestOwn:
    def test_counters_are_summed_by_label_set(self, one: _Worker, two: _Worker) -> None:
        """Whole numbers stay whole however large."""
        one.received.labels("traces").inc(2**53 + 1)
        two.received.labels("traces").inc(2)
        two.received.labels("logs").inc(3)
        assert _body(_merge(one, two), "sidelight_collector_received") == (
            'sidelight_collector_received_total{signal="traces"} 9007199254740995\n'
            'sidelight_collector_received_total{signal="logs"} 3\n'
        )

    def test_gauges_as_they_mean(self, one: _Worker, two: _Worker) -> None:
        """The longest lag, all bytes, and no reload that failed anywhere."""
        for worker, lag, size, ok in ((one, 1.5, 10, 1), (two, 7.25, 5, 0)):
            worker.lag.labels("d").set(lag)
            worker.size.set(size)
            worker.ok.set(ok)
        found = _merge(one, two)
        assert _body(found, "sidelight_collector_lag_seconds").endswith(" 7.25\n")
        assert _body(found, "sidelight_collector_log_size_bytes").endswith(" 15\n")
        assert _body(found, "sidelight_collector_config_reload_ok").endswith(" 0\n")

    def test_histograms_are_summed_by_bucket(self, one: _Worker, two: _Worker) -> None:
        """Each bucket, the count and the sum; the lines stay in their order."""
        one.duration.labels("ok").observe(0.002)
        two.duration.labels("ok").observe(0.2)
        two.duration.labels("ok").observe(100.0)
        lines = _body(_merge(one, two), "sidelight_retrieval_duration_seconds").splitlines()
        counts = [line.split()[-1] for line in lines]
        assert counts == ["0", "1", "1", "1", "1", "2", "2", "2", "2", "3", "3", "100.202"]
        assert 'le="+Inf"' in lines[9]

    def test_the_newest_exemplar_is_kept(
        self, one: _Worker, two: _Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whichever worker it comes from."""
        two.duration.labels("ok").observe(0.002, b"\1" * 16, b"\1" * 8)
        later = time.time() + 1
        monkeypatch.setattr(time, "time", lambda: later)
        one.duration.labels("ok").observe(0.002, b"\2" * 16, b"\2" * 8)
        body = _body(_merge(one, two), "sidelight_retrieval_duration_seconds", exemplars=True)
        assert "02" * 16 in body
        assert "01" * 16 not in body

    @pytest.mark.parametrize("label", ["a } b", 'a " b', "# {x", "a\\", "ä\u2028b", "1 2"])
    def test_labels_may_hold_anything(self, one: _Worker, two: _Worker, label: str) -> None:
        """Braces, quotes, line separators, and what looks like an exemplar."""
        one.received.labels(label).inc(1)
        two.received.labels(label).inc(1)
        found = _merge(one, two)
        assert _body(found, "sidelight_collector_received").count(" 2\n") == 1

    def test_what_concerns_a_process_is_told_apart(self, one: _Worker, two: _Worker) -> None:
        """By a label with the worker's number."""
        body = _body(_merge(one, two), "process_resident_memory_bytes")
        assert 'process_resident_memory_bytes{worker="0"} ' in body
        assert 'process_resident_memory_bytes{worker="1"} ' in body

    @pytest.mark.parametrize("accept", ["application/openmetrics-text", "text/plain"])
    def test_the_whole_is_a_valid_exposition(self, one: _Worker, two: _Worker, accept: str) -> None:
        """In both formats, with what is gone and what is silent in it."""
        is_openmetrics = "openmetrics" in accept
        for worker in (one, two):
            worker.duration.labels("ok").observe(0.002, b"\1" * 16, b"\1" * 8)
            worker.ingest(1, temporality=_DELTA, at=1)
        gone = one.snapshot()
        found = merged({"0": two.snapshot()}, gone, _NOW)

        _, body = Exposition(lambda: found).render(accept)
        if is_openmetrics:
            parse(body.decode())
        else:
            assert b" # {" not in body


class TestGone:
    def test_counts_of_a_worker_that_died_stay(self, one: _Worker, two: _Worker) -> None:
        """Also through several deaths; its gauges go."""
        one.received.labels("traces").inc(5)
        one.size.set(100)
        gone = what_stays(Snapshot(), one.snapshot(), _NOW)
        again = _Worker()
        again.received.labels("traces").inc(2)
        gone = what_stays(gone, again.snapshot(), _NOW)
        two.received.labels("traces").inc(1)
        two.size.set(7)
        found = _merge(two, gone=gone)
        assert _body(found, "sidelight_collector_received").endswith(" 8\n")
        assert _body(found, "sidelight_collector_log_size_bytes").endswith(" 7\n")

    def test_received_deltas_stay_and_the_rest_goes(self, one: _Worker, two: _Worker) -> None:
        """A cumulative series is whole again with its sender's next point, in another worker."""
        one.ingest(5, temporality=_DELTA, at=1)
        one.ingest(50, temporality=_CUMULATIVE, at=1, name="total")
        gone = what_stays(Snapshot(), one.snapshot(), _NOW)
        two.ingest(2, temporality=_DELTA, at=2)
        found = _merge(two, gone=gone)
        assert _body(found, "jobs").endswith(" 7\n")
        assert _body(found, "total") == ""

    def test_what_is_long_silent_is_forgotten(self, one: _Worker) -> None:
        """A sender that is gone must not be shown for ever."""
        one.ingest(5, temporality=_DELTA, at=1)
        gone = what_stays(Snapshot(), one.snapshot(), _NOW)
        assert _body(merged({}, gone, _NOW), "jobs")
        assert not _body(merged({}, gone, _NOW + 601), "jobs")


class TestReceived:
    def test_of_a_cumulative_series_the_newest_state_counts(
        self, one: _Worker, two: _Worker
    ) -> None:
        """A sender that comes over another connection is in two workers; it is shown once."""
        one.ingest(50, temporality=_CUMULATIVE, at=1)
        two.time += 10
        two.ingest(60, temporality=_CUMULATIVE, at=2)
        for workers in ((one, two), (two, one)):
            assert _body(_merge(*workers), "jobs").count("\n") == 1
            assert _body(_merge(*workers), "jobs").endswith(" 60\n")

    def test_deltas_add_up(self, one: _Worker, two: _Worker) -> None:
        """Each worker has only what it was sent."""
        one.ingest(5, temporality=_DELTA, at=1)
        two.ingest(6, temporality=_DELTA, at=2)
        assert _body(_merge(one, two), "jobs").endswith(" 11\n")

    def test_target_info_is_there_once(self, one: _Worker, two: _Worker) -> None:
        """Though the resource is known to both."""
        one.ingest(5, temporality=_DELTA, at=1)
        two.ingest(6, temporality=_DELTA, at=2)
        assert _body(_merge(one, two), "target").count("target_info") <= 1

    def test_of_two_types_the_first_is_shown(self, one: _Worker, two: _Worker) -> None:
        """As one process would. The other is counted."""
        one.ingest(5, temporality=_DELTA, at=1)
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="jobs")
        metric.gauge.data_points.add(as_int=1, time_unix_nano=1)
        two.otlp.ingest(request)
        _, body = Exposition(lambda: _merge(one, two)).render("text/plain")
        assert b"# TYPE jobs_total counter" in body
        assert b"# TYPE jobs gauge" not in body
        hidden = b'series_hidden{source="received",reason="type_conflict"} 1'
        assert hidden in body
