"""Counters and gauges of our own: the same as prometheus_client's would show, from any thread."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.utils import floatToGoString

from sidelight.collector.metrics import process
from sidelight.collector.metrics.instruments import Counter, Gauge
from sidelight.otlp.prometheus.values import spelled
from support.openmetrics import lines


class TestCounter:
    def test_each_label_set_counts_for_itself(self) -> None:
        """In the order in which they were first used."""
        counter = Counter("sent", "Sent.", ("to", "how"))
        counter.labels("b", "x").inc()
        counter.labels("a", 'say "y"').inc(2.5)
        counter.labels("b", "x").inc(3)
        family = counter.family()
        assert (family.name, family.type, family.help) == ("sent", "counter", "Sent.")
        assert lines(family) == (
            'sent_total{to="b",how="x"} 4\nsent_total{to="a",how="say \\"y\\""} 2.5\n'
        )

    def test_without_labels_it_is_there_from_the_start(self) -> None:
        """So that a rate of the first event is seen."""
        counter = Counter("sent", "Sent.")
        assert lines(counter.family()) == "sent_total 0\n"
        counter.inc()
        assert lines(counter.family()) == "sent_total 1\n"

    def test_it_only_goes_up(self) -> None:
        """And wants as many values as it has labels."""
        with pytest.raises(ValueError, match="only goes up"):
            Counter("sent", "Sent.").inc(-1)
        with pytest.raises(ValueError, match="has the labels"):
            Counter("sent", "Sent.", ("to",)).labels("a", "b")

    def test_threads_lose_no_count(self) -> None:
        """Eight at once, with the same and with new label sets."""
        counter = Counter("sent", "Sent.", ("to",))

        def count() -> None:
            for number in range(5000):
                counter.labels(str(number % 10)).inc()

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lines(counter.family()) == "".join(
            f'sent_total{{to="{number}"}} 4000\n' for number in range(10)
        )


def test_a_gauge_shows_what_was_set_or_what_it_reads() -> None:
    """A function is asked whenever it is shown."""
    gauge = Gauge("level", "GaugeSeries.")
    assert lines(gauge.family()) == "level 0\n"
    gauge.set(2.5)
    assert lines(gauge.family()) == "level 2.5\n"
    values = iter([1, 2])
    gauge.set_function(lambda: next(values))
    assert [lines(gauge.family()) for _ in range(2)] == ["level 1\n", "level 2\n"]


@given(st.floats() | st.sampled_from([0.005, 1e6, 999999.0, 123456789.5, 1e22, math.inf]))
def test_numbers_are_spelled_as_prometheus_does(value: float) -> None:
    """As its own client does, whose buckets are compared as text."""
    expected: Any = floatToGoString(value)  # type: ignore[no-untyped-call]
    assert spelled(value) == expected


def test_the_process_is_shown_as_prometheus_clients_show_it() -> None:
    """The same names and kinds, and values that agree."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    # Threads of earlier tests may end, and close their files, at any time.
    before = {metric.name: metric for metric in registry.collect()}
    ours = {family.name: family for family in process.families()}
    after = {metric.name: metric for metric in registry.collect()}
    assert ours.keys() == after.keys()
    for name, metric in after.items():
        assert ours[name].type == metric.type
        sample_name, value = lines(ours[name]).split()
        assert sample_name == metric.samples[0].name
        least, most = sorted((before[name].samples[0].value, metric.samples[0].value))
        assert 0.8 * least - 1.0 <= float(value) <= 1.2 * most + 1.0
    start = float(lines(ours["process_start_time_seconds"]).split()[1])
    assert 0 < time.time() - start < 100_000


def test_a_counter_leads_to_the_trace_it_last_counted() -> None:
    """In OpenMetrics only, which alone has exemplars; what counts without a trace leaves none."""
    counter = Counter("sent", "Sent.", ("to",))
    counter.labels("a").inc(2, bytes(16), bytes(7) + b"\x01")
    counter.labels("a").inc(3)
    counter.labels("b").inc()
    assert lines(counter.family()) == 'sent_total{to="a"} 5\nsent_total{to="b"} 1\n'
    with_mark, without = lines(counter.family(), exemplars=True).splitlines()
    mark = f'sent_total{{to="a"}} 5 # {{trace_id="{"0" * 32}",span_id="{"0" * 15}1"}} 2 '
    assert with_mark.startswith(mark)
    assert abs(float(with_mark.removeprefix(mark)) - time.time()) < 60
    assert without == 'sent_total{to="b"} 1'


def test_a_gauge_shows_nothing_while_it_knows_nothing() -> None:
    """NaN is no value: a mean over it would be none either."""
    gauge = Gauge("level", "GaugeSeries.", ("of",))
    gauge.labels("a").set(math.nan)
    gauge.labels("b").set(1)
    assert lines(gauge.family()) == 'level{of="b"} 1\n'
