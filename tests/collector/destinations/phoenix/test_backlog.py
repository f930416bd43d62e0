"""Counting spans between delivery and storage."""

from __future__ import annotations

from sidelight.collector.destinations.phoenix.backlog import Backlog
from support import otlp_requests


def filled(*sizes: int) -> tuple[Backlog, list[list[str]]]:
    """A backlog of batches of these sizes, and their span ids."""
    backlog = Backlog()
    ids = []
    for size in sizes:
        spans = [otlp_requests.span() for _ in range(size)]
        backlog.add(otlp_requests.traces(spans).body())
        ids.append([span.span_id.hex() for span in spans])
    return backlog, ids


def test_a_stored_sample_stands_for_all_before_it() -> None:
    """Storage is in order, so one stored span takes off everything older."""
    backlog, ids = filled(10, 20, 30)
    assert backlog.spans == 60
    assert backlog.confirm({ids[1][-1]})
    assert backlog.spans == 30


def test_nothing_stored_takes_nothing_off() -> None:
    """Without news the backlog stays."""
    backlog, _ = filled(10)
    assert not backlog.confirm(set())
    assert backlog.spans == 10


def test_samples_are_spread_with_the_newest_among_them() -> None:
    """A few lookups tell how far the backend has come, and whether it has all."""
    backlog, ids = filled(*[10] * 8)
    assert backlog.samples(4) == [ids[place][-1] for place in (1, 3, 5, 7)]
    assert backlog.samples(20) == [batch[-1] for batch in ids]
    assert Backlog().samples(4) == []


def test_a_large_batch_shows_progress_within() -> None:
    """Every hundredth span of a batch is a sample, and its last."""
    backlog, (ids,) = filled(250)
    assert backlog.samples(10) == [ids[99], ids[199], ids[249]]
    backlog.confirm({ids[199]})
    assert backlog.spans == 50
