"""A sampled feed of the log: kept traces are whole, over restarts, backlogs and broken disks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight import conventions as c
from sidelight.collector.delivery.feed import Held, Step
from sidelight.collector.delivery.sampling.feed import SampledFeed
from sidelight.collector.delivery.sampling.sampler import Decision, Sampler
from sidelight.collector.delivery.select import Selector
from sidelight.collector.destinations.common.sampling import Sampling
from sidelight.collector.log.durable_log import DurableLog
from sidelight.otlp.span import attributes
from support import otlp_requests
from support.sending import opened
from support.spans import Made, names_of, record, spans_of, trace_id

SECOND = 1_000_000_000


class Feeding:
    """A sampled feed over a log on disk, with time in the test's hand."""

    def __init__(
        self,
        log: DurableLog,
        directory: Path,
        *,
        started_at: float = 0,
        **options: Any,
    ) -> None:
        self.log = log
        self.cursor = log.cursor("test")
        self.now = int(started_at * SECOND)
        self.decided: Counter[Decision] = Counter()
        self.feed = SampledFeed(
            self.cursor,
            {"traces", "metrics"},
            Sampling.model_validate({"share": 0, "quiet_seconds": 10, **options}),
            selector=Selector(),
            directory=directory / "sampling",
            leftovers=log.leftover_directories_for("sampling"),
            decided=lambda decision: self.decided.update([decision]),
            wall_ns=lambda: self.now,
        )

    def append(self, *spans: Made, at: float = 0) -> None:
        self.log.append([record(*spans, time_ns=int(at * SECOND))])

    def sent(self, at: float) -> list[str]:
        """What is sent until the feed holds or the log ends, at that second."""
        self.now = int(at * SECOND)
        found: list[str] = []
        while True:
            step = self.feed.read(self.cursor.position)
            if step is None or isinstance(step, Held):
                return found
            found += names_of(step.record) if step.record else []
            self.cursor.commit(step.end)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DurableLog]:
    with opened(tmp_path) as log:
        yield log


def test_an_error_keeps_what_came_before_it(log: DurableLog, tmp_path: Path) -> None:
    """Spans wait in the log; a later reason sends the whole trace, and nothing of another."""
    feeding = Feeding(log, tmp_path)
    feeding.append(Made("a1", trace="a"), Made("b1", trace="b"), at=1)
    assert feeding.sent(at=2) == []
    assert log.cursor("test").position < log.end
    feeding.append(Made("a2", trace="a", error=True), at=3)
    assert feeding.sent(at=4) == []
    assert feeding.sent(at=11) == ["a1", "a2"]
    assert feeding.decided == Counter({Decision.ERROR: 1, Decision.REST: 1})
    feeding.append(Made("a3", trace="a"), Made("b2", trace="b", error=True), at=12)
    assert feeding.sent(at=12) == ["a3"]
    assert log.cursor("test").position == log.end


def test_a_root_that_came_later_groups_what_waited(log: DurableLog, tmp_path: Path) -> None:
    """Spans that waited for their trace have session and user of the root that came behind them."""
    feeding = Feeding(log, tmp_path)
    feeding.append(Made("a1", trace="a", parent="root"), Made("b1", trace="b"), at=1)
    feeding.append(Made("root", trace="a", error=True, attributes={c.SESSION_ID: "s"}), at=2)
    feeding.now = 20 * SECOND
    step = feeding.feed.read(log.cursor("test").position)
    assert isinstance(step, Step)
    (span,) = spans_of(step.record)
    assert attributes(span.attributes) == {c.SESSION_ID: "s"}


def test_a_backlog_is_decided_by_the_time_it_came(log: DurableLog, tmp_path: Path) -> None:
    """After a long outage the log's own times count: pauses in it decide as they did live."""
    feeding = Feeding(log, tmp_path)
    feeding.append(Made("a1", trace="a"), Made("b1", trace="b"), at=0)
    feeding.append(Made("b2", trace="b", error=True), at=9)
    feeding.append(Made("a2", trace="a", error=True), at=11)
    assert feeding.sent(at=5000) == ["b1", "b2"]


def test_the_time_in_which_nobody_served_was_not_quiet(log: DurableLog, tmp_path: Path) -> None:
    """After a downtime longer than `quiet_seconds` a trace waits for what senders kept of it."""
    before = Feeding(log, tmp_path)
    before.append(Made("a1", trace="a"), Made("b1", trace="b"), at=0)
    assert before.sent(at=3) == []
    after = Feeding(log, tmp_path, started_at=15)
    assert after.sent(at=16) == []
    assert after.decided == Counter()
    after.append(Made("a2", trace="a", error=True), at=20)
    assert after.sent(at=24.9) == []
    assert after.sent(at=25) == ["a1", "a2"]
    assert after.decided == Counter({Decision.ERROR: 1, Decision.REST: 1})


def test_what_comes_first_after_a_start_may_belong_to_what_came_before(
    log: DurableLog, tmp_path: Path
) -> None:
    """Also if it is in the log before the log is read."""
    before = Feeding(log, tmp_path)
    before.append(Made("a1", trace="a"), at=0)
    assert before.sent(at=0) == []
    after = Feeding(log, tmp_path, started_at=15)
    after.append(Made("a2", trace="a", error=True), at=16)
    assert after.sent(at=17) == ["a1", "a2"]


def test_pauses_before_a_start_decide_as_they_did_live(log: DurableLog, tmp_path: Path) -> None:
    """Only the pause that ended with the start does not count."""
    before = Feeding(log, tmp_path)
    before.append(Made("a1", trace="a"), at=0)
    before.append(Made("b1", trace="b"), at=11)
    after = Feeding(log, tmp_path, started_at=30)
    after.append(Made("a2", trace="a", error=True), Made("b2", trace="b", error=True), at=31)
    assert after.sent(at=32) == ["b1", "b2"]


def test_a_trace_stays_whole_over_another_number_of_workers(tmp_path: Path) -> None:
    """Spans and decisions of a leftover count for what comes after it."""
    left = DurableLog(tmp_path, segment_bytes=1024, workers=2)
    before = Feeding(left, left.directory)
    before.append(Made("a1", trace="a", error=True), Made("b1", trace="b"), at=0)
    before.append(Made("c1", trace="c"), at=11)
    assert before.sent(at=11) == ["a1"]
    left.close()
    with opened(tmp_path) as log:
        after = Feeding(log, tmp_path, started_at=30)
        after.append(Made("a2", trace="a"), Made("b2", trace="b", error=True), at=31)
        after.append(Made("c2", trace="c", error=True), at=32)
        assert after.sent(at=33) == ["c1", "a2", "c2"]


def test_a_restart_remembers(log: DurableLog, tmp_path: Path) -> None:
    """Late spans of traces decided before a restart follow the decision, kept or dropped."""
    before = Feeding(log, tmp_path)
    before.append(Made("a1", trace="a", error=True), Made("b1", trace="b"), at=0)
    assert before.sent(at=11) == ["a1"]
    after = Feeding(log, tmp_path)
    after.append(Made("a2", trace="a"), Made("b2", trace="b", error=True), at=12)
    assert after.sent(at=13) == ["a2"]
    assert after.decided == Counter()


def test_a_torn_file_of_decisions_is_mended(log: DurableLog, tmp_path: Path) -> None:
    """What a crash cut off is forgotten; what stands before and comes behind is read."""
    before = Feeding(log, tmp_path)
    before.append(Made("a1", trace="a", error=True), at=0)
    before.sent(at=0)
    (path,) = (tmp_path / "sampling").iterdir()
    path.write_bytes(path.read_bytes() + b"torn")
    middle = Feeding(log, tmp_path)
    middle.append(Made("b1", trace="b", error=True), at=1)
    middle.sent(at=1)
    after = Feeding(log, tmp_path)
    after.append(Made("a2", trace="a"), Made("b2", trace="b"), at=2)
    assert after.sent(at=2) == ["a2", "b2"]


def test_a_disk_that_refuses_decisions_stops_nothing(log: DurableLog, tmp_path: Path) -> None:
    """What cannot be written is tried again: sending is what makes room on a full disk."""
    (tmp_path / "sampling").write_text("no folder")
    feeding = Feeding(log, tmp_path)
    feeding.append(Made("a1", trace="a", error=True), at=0)
    assert feeding.sent(at=0) == ["a1"]
    (tmp_path / "sampling").unlink()
    feeding.append(Made("b1", trace="b", error=True), at=1)
    assert feeding.sent(at=1) == ["b1"]
    after = Feeding(log, tmp_path)
    after.append(Made("a2", trace="a"), Made("b2", trace="b"), at=2)
    assert after.sent(at=2) == ["a2", "b2"]


def test_waiting_traces_are_bounded(log: DurableLog, tmp_path: Path) -> None:
    """Above the bound the oldest are decided early and counted; the file stays bounded too."""
    feeding = Feeding(log, tmp_path, max_traces=5)
    for number in range(100):
        feeding.append(Made(f"{number}", trace=f"{number}"), at=0)
    assert feeding.sent(at=0) == []
    assert feeding.decided == Counter({Decision.EARLY: 96})
    assert feeding.sent(at=10) == []
    assert feeding.decided == Counter({Decision.EARLY: 96, Decision.REST: 4})
    (path,) = (tmp_path / "sampling").iterdir()
    assert path.stat().st_size <= 21 * 17


def test_other_signals_pass_in_their_place(log: DurableLog, tmp_path: Path) -> None:
    """Metrics are not sampled; they go out when their turn comes."""
    feeding = Feeding(log, tmp_path)
    log.append([otlp_requests.metrics()])
    step = feeding.feed.read(feeding.cursor.position)
    assert step is not None
    assert not isinstance(step, Held)
    assert step.record is not None
    assert step.record.signal == "metrics"


TRACES = st.sampled_from(["a", "b", "c", "d"])
BATCHES = st.lists(
    st.lists(st.tuples(TRACES, st.integers(0, 9).map(lambda n: n == 0)), min_size=1, max_size=4),
    min_size=1,
    max_size=8,
)


PAUSES = st.lists(st.sampled_from([0.0, 1.0, 9.0, 30.0]), min_size=8, max_size=8)


@settings(deadline=None, max_examples=150)
@given(
    BATCHES, PAUSES, st.lists(st.sampled_from(["go on", "read", "restart"]), min_size=8, max_size=8)
)
def test_a_kept_trace_is_kept_whole(
    batches: list[list[tuple[str, bool]]], pauses: list[float], events: list[str]
) -> None:
    """Whatever the order, batches, pauses and restarts: all of a trace is sent, once, or none."""
    with TemporaryDirectory() as folder, opened(Path(folder)) as log:
        options: dict[str, Any] = {"share": 0.3, "max_wait_seconds": 20}
        feeding = Feeding(log, Path(folder), **options)
        at, number = 0.0, 0
        sent: list[str] = []
        everything: dict[str, list[str]] = {}
        errors: set[str] = set()
        for batch, pause, event in zip(batches, pauses, events, strict=False):
            at += pause
            spans = []
            for trace, error in batch:
                number += 1
                spans.append(Made(f"{trace}{number}", trace=trace, error=error))
                everything.setdefault(trace, []).append(spans[-1].name)
                errors |= {trace} if error else set()
            feeding.append(*spans, at=at)
            if event != "go on":
                sent += feeding.sent(at)
            if event == "restart":
                feeding = Feeding(log, Path(folder), started_at=at, **options)
        sent += feeding.sent(at + 100)
        assert log.cursor("test").position == log.end
        for trace, names in everything.items():
            got = [name for name in sent if name[0] == trace]
            assert got in ([], names)
            if Sampler(Sampling.model_validate({"share": 0.3})).is_in_share(trace_id(trace)):
                assert got == names
            elif got:
                assert trace in errors
