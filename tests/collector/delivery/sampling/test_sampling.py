"""Tail sampling: what keeps a trace, when that is decided, and that a kept trace is whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from sidelight import conventions as c
from sidelight.collector.delivery.sampling.sampler import Decision, Reasons, Sampler
from sidelight.collector.destinations.common.sampling import Sampling
from sidelight.otlp.span_view import SpanView
from support.langfuse import LangfuseStandIn
from support.sending import Sending, opened
from support.spans import Made, record, request

SECOND = 1_000_000_000


def reason(made: Made, **options: Any) -> Decision | None:
    item = request(made).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    return Reasons(Sampling.model_validate({"share": 0, **options})).find(SpanView(item))


@pytest.mark.parametrize(
    ("made", "options", "expected"),
    [
        (Made("ok"), {}, None),
        (Made("bad", error=True), {}, Decision.ERROR),
        (Made("bad", error=True), {"keep_errors": False}, None),
        (Made("a", attributes={c.PREEMPTIONS: 1}), {}, Decision.PREEMPTED),
        (Made("a", attributes={c.PREEMPTIONS: 0}), {}, None),
        (Made("a", attributes={c.PREEMPTIONS: 1}), {"keep_preempted": False}, None),
        (Made("a", attributes={c.KEEP_TRACE: True}), {}, Decision.FLAGGED),
        (Made("a", attributes={c.KEEP_TRACE: "true"}), {}, Decision.FLAGGED),
        (Made("a", attributes={c.KEEP_TRACE: False}), {}, None),
        (Made("a", attributes={c.TIME_TO_FIRST_TOKEN: 2.5}), {}, None),
        (
            Made("a", attributes={c.TIME_TO_FIRST_TOKEN: 2.5}),
            {"ttft_over_seconds": 2},
            Decision.SLOW_FIRST_TOKEN,
        ),
        (Made("a", attributes={c.TIME_TO_FIRST_TOKEN: 2.5}), {"ttft_over_seconds": 3}, None),
        (Made("a", seconds=9), {"duration_over_seconds": 8}, Decision.LONG),
        (Made("vip"), {"keep": [{"names": "v*"}]}, Decision.RULE),
        (Made("other"), {"keep": [{"names": "v*"}]}, None),
    ],
)
def test_reasons_to_keep(made: Made, options: dict[str, Any], expected: Decision | None) -> None:
    """Each reason keeps what it says and nothing else, and can be configured."""
    assert reason(made, **options) is expected


def sampler(**options: Any) -> Sampler:
    return Sampler(Sampling.model_validate({"share": 0, "quiet_seconds": 10, **options}))


def test_a_share_of_the_rest_is_kept_by_hash() -> None:
    """About the share is kept, at once, and the same traces by every collector."""
    first, second = sampler(share=0.1), sampler(share=0.1)
    ids = [number.to_bytes(16, "big") for number in range(20_000)]
    for one in ids:
        first.see(one, None)
    for one in reversed(ids):
        second.see(one, None)
    kept = {one for one in ids if first.decision(one) is Decision.SHARE}
    assert 1800 <= len(kept) <= 2200
    assert kept == {one for one in ids if second.decision(one) is Decision.SHARE}
    more = sampler(share=0.2)
    assert all(more.is_in_share(one) for one in kept)


@pytest.mark.parametrize(("share", "kept"), [(0, False), (1, True)])
def test_none_and_all(share: float, kept: bool) -> None:
    """A share of 0 keeps nothing without a reason, one of 1 everything."""
    one = sampler(share=share)
    assert all(one.is_in_share(bytes((byte,)) * 16) is kept for byte in range(256))


def test_a_trace_is_dropped_once_it_is_quiet() -> None:
    """Each span starts the quiet time anew; when it is over, the trace is decided."""
    one = sampler()
    for second in (0, 9, 18):
        one.advance(second * SECOND)
        one.see(b"a" * 16, None)
    one.advance(27 * SECOND)
    assert one.decision(b"a" * 16) is None
    assert one.seconds_left(b"a" * 16) == 1
    one.advance(28 * SECOND)
    assert one.decision(b"a" * 16) is Decision.REST


def test_a_trace_that_never_ends_is_decided_at_last() -> None:
    """After the longest wait the next span decides, and what comes later follows."""
    one = sampler(max_wait_seconds=20)
    for second in (0, 5, 10, 15, 20):
        assert one.decision(b"a" * 16) is None
        one.advance(second * SECOND)
        one.see(b"a" * 16, None)
    assert one.decision(b"a" * 16) is Decision.REST
    one.see(b"a" * 16, Decision.ERROR)
    assert one.decision(b"a" * 16) is Decision.REST


@pytest.mark.parametrize("jump", [-3600, -2, 3600])
def test_a_clock_that_jumps_stops_nothing(jump: int) -> None:
    """Set back or forward, the wall clock lets quiet traces be decided in their time."""
    one = sampler()
    one.advance(10_000 * SECOND)
    one.see(b"a" * 16, None)
    one.advance((10_000 + jump) * SECOND)
    one.see(b"b" * 16, None)
    one.advance((10_000 + jump + 11) * SECOND)
    assert one.decision(b"a" * 16) is Decision.REST
    assert one.decision(b"b" * 16) is Decision.REST


def test_decisions_seen_last_are_remembered() -> None:
    """The bound lets go of the traces of which nothing came for longest."""
    one = sampler(share=1)
    for byte in (b"a", b"b", b"c", b"a"):
        one.see(byte * 16, None)
    one.forget(2)
    assert [each for each, _ in one.decisions()] == [b"c" * 16, b"a" * 16]


EVENTS = st.lists(st.sampled_from(["go on", "read", "restart"]), min_size=8, max_size=8)


async def test_sampling_on_the_way_to_langfuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end: kept traces arrive whole across a restart, decisions and spans are counted."""
    with LangfuseStandIn() as server, opened(tmp_path / "log") as log:
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", server.public_key)
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", server.secret_key)
        # At first longer than any machine takes until all is read, then as long as one waits.
        before, after = (
            {
                "type": "langfuse",
                "url": server.url,
                "timeout_seconds": 120,
                "sample": {"share": 0, "quiet_seconds": seconds, "max_wait_seconds": 3600},
            }
            for seconds in (1800, 1)
        )
        now = time.time_ns()
        async with Sending(log, before) as sending:
            sending.append(record(Made("a1", trace="a"), Made("b1", trace="b"), time_ns=now))
            sending.append(record(Made("a2", trace="a", error=True), time_ns=now))
            await sending.settled()
            assert server.rows == []
        async with Sending(log, after) as sending:
            await sending.until(lambda: log.cursor("langfuse").position == log.end)
            sending.append(record(Made("a3", trace="a")))
            await sending.until(lambda: len(server.rows) == 3)
        assert [row.name for row in server.rows] == ["a1", "a2", "a3"]
        assert sending.tally.counts["langfuse", "sampled", "ERROR"] == 1
        assert sending.tally.counts["langfuse", "sampled", "REST"] == 1
        assert sending.tally.counts["langfuse", "withheld", "sampling"] == 1
