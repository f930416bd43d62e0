"""Whose fault a failure is shows in what else is accepted; nothing good is given up for it."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sidelight.collector.delivery import blame, circuit
from sidelight.collector.delivery.forwarder import MAX_PASSED
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record
from support.forwarding import Scripted, forwarding, names_of, traces
from support.sending import opened

_BLOCKED_SECONDS = 0.1
FAILURES: dict[str, Outcome] = {
    "a 400": Rejected("answered 400", 400),
    "a 413": Rejected("answered 413", 413),
    "a 422": Rejected("answered 422", 422),
    "a 403 of a firewall": Retry("answered 403", cause="http_403"),
    "a 404": Retry("answered 404", cause="http_404"),
    "a 500": Retry("answered 500", cause="http_500"),
    "a 503 of a proxy": Retry("answered 503", cause="http_503"),
    "a reset": Retry("reset", cause="reset"),
    "a timeout": Retry("no answer", cause="timeout"),
    "UNAVAILABLE": Retry("answered UNAVAILABLE", cause="grpc_unavailable"),
}
# What a backend says to a request without items: the same as to others, no, or that it has none.
EMPTY_REQUESTS: dict[str, Callable[[Outcome], Outcome | None]] = {
    "answers empty requests": lambda outcome: outcome,
    "rejects empty requests": lambda _: Rejected("answered 400", 400),
    "has no empty requests": lambda _: None,
}
every_failure = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
rejection = pytest.mark.parametrize(
    "failure", [FAILURES["a 400"], FAILURES["a 413"], FAILURES["a 422"]]
)


def poisoned(failure: Outcome, *bad: str) -> Callable[[Record], Outcome]:
    """A backend that fails whenever one of the bad spans is in the batch."""
    return lambda record: failure if set(bad) & set(names_of(record)) else Delivered()


def letters(path: Path) -> list[str]:
    """The reasons of the dead letters."""
    if not path.exists():
        return []
    return [json.loads(line)["reason"] for line in path.read_text().splitlines()]


def given_up(path: Path) -> set[str]:
    """The names of the spans among the dead letters."""
    if not path.exists():
        return set()
    payloads = [
        base64.b64decode(json.loads(line)["request_gzip_base64"])
        for line in path.read_text().splitlines()
    ]
    return {name for payload in payloads for name in names_of(Record("traces", payload, 1, 1))}


@every_failure
async def test_one_bad_span_costs_itself_alone(
    log: DurableLog, tmp_path: Path, failure: Outcome
) -> None:
    """Whatever its failure looks like: all others arrive once, it is kept with the reason."""
    names = [f"span-{number}" for number in range(230)]
    batches = [names[start : start + 10] for start in range(0, 230, 10)]
    log.append([traces(*batch) for batch in batches])
    destination = Scripted(poisoned(failure, "span-64"))
    options = {"max_blocked_seconds": _BLOCKED_SECONDS}
    async with forwarding(log, destination, tmp_path, **options) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
        assert running.forwarder.status.trouble is None
    assert Counter(destination.taken) == Counter(name for name in names if name != "span-64")
    (reason,) = letters(running.dead_letters.path("scripted"))
    assert reason == failure.reason
    assert running.tally.counts["scripted", "dropped", "dead_lettered"] == 1
    assert running.tally.counts["scripted", "delivered"] == 229


@every_failure
@pytest.mark.parametrize("bad", [["span-0"], ["span-7"], ["span-3", "span-4"]])
async def test_without_other_batches_halves_show_it(
    log: DurableLog, tmp_path: Path, failure: Outcome, bad: list[str]
) -> None:
    """Also where nothing follows: what a request without items tells then counts."""
    names = [f"span-{number}" for number in range(8)]
    log.append([traces(*names)])
    destination = Scripted(poisoned(failure, *bad))
    options = {"max_blocked_seconds": _BLOCKED_SECONDS}
    async with forwarding(log, destination, tmp_path, **options) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert Counter(destination.taken) == Counter(name for name in names if name not in bad)
    assert len(letters(running.dead_letters.path("scripted"))) == len(bad)


@every_failure
@pytest.mark.parametrize("takes_empty", [False, True])
async def test_a_destination_that_fails_everything_gets_everything_later(
    log: DurableLog, tmp_path: Path, failure: Outcome, takes_empty: bool
) -> None:
    """Nothing is given up, few requests are made, and the trouble says what is wrong."""
    names = [f"span-{number}" for number in range(2000)]
    log.append([traces(*names), traces("next")])
    is_mended = False

    def answer(record: Record) -> Outcome:
        is_fine = is_mended or (takes_empty and record.items == 0)
        return Delivered() if is_fine else failure

    destination = Scripted(answer)
    options = {"max_blocked_seconds": _BLOCKED_SECONDS}
    async with forwarding(log, destination, tmp_path, **options) as running:
        status = running.forwarder.status
        await running.until(lambda: status.trouble is not None)
        # Long enough for every way of asking to have been tried.
        await running.until(lambda: running.tally.counts["scripted", "retried"] > 60)
        assert failure.reason in str(status.trouble)
        assert running.forwarder.lag_seconds > 0
        assert ("scripted", "dropped", "dead_lettered") not in running.tally.counts
        is_mended = True
        await running.until(lambda: log.cursor("scripted").position == log.end)
        assert status.trouble is None
    assert Counter(destination.taken) == Counter([*names, "next"])
    assert letters(running.dead_letters.path("scripted")) == []


@rejection
async def test_halving_in_vain_costs_few_requests(
    log: DurableLog, tmp_path: Path, failure: Outcome
) -> None:
    """One way down and back for a batch, then one or two requests a pause."""
    items = 2000
    log.append([traces(*(f"span-{number}" for number in range(items)))])
    destination = Scripted(lambda record: Delivered() if record.items == 0 else failure)
    # Pauses that are longer than this test takes to look.
    async with forwarding(log, destination, tmp_path, max_backoff_seconds=60) as running:
        await running.until(lambda: running.forwarder.status.trouble is not None)
        asked = destination.asked
    # The batch, one without items, the halves, and the last single span once more.
    assert asked <= blame.max_failed_parts(items) + 8


@rejection
async def test_what_was_accepted_before_proves_nothing_later(
    log: DurableLog, tmp_path: Path, failure: Outcome
) -> None:
    """A destination that changes between two batches is waited for like one that never worked."""
    is_broken = False
    destination = Scripted(lambda _: failure if is_broken else Delivered())
    log.append([traces("before")])
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: destination.taken == ["before"])
        is_broken = True
        log.append([traces(*(f"span-{number}" for number in range(9))), traces("alone")])
        running.forwarder.wake()
        await running.until(lambda: running.tally.counts["scripted", "retried"] > 30)
        is_broken = False
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert len(destination.taken) == 11
    assert letters(running.dead_letters.path("scripted")) == []


async def test_several_bad_batches_in_a_row(log: DurableLog, tmp_path: Path) -> None:
    """More than may be passed at a time: each is resolved in turn, and nothing else is lost."""
    bad = [f"bad-{number}" for number in range(8)]
    log.append([traces(f"good-{name}", name, f"fine-{name}") for name in bad])
    log.append([traces("last")])
    destination = Scripted(poisoned(FAILURES["a 500"], *bad))
    options = {"max_blocked_seconds": _BLOCKED_SECONDS}
    good = 17
    async with forwarding(log, destination, tmp_path, **options) as running:

        def are_resolved() -> bool:
            nonlocal good
            if log.cursor("scripted").position == log.end:
                return True
            # Only a few are given up without a delivery in between. On a busy machine more are left
            # when all else has arrived, and the next delivery resolves them.
            if len(destination.taken) == good:
                log.append([traces(f"later-{good}")])
                good += 1
                running.forwarder.wake()
            return False

        await running.until(are_resolved)
    assert len(destination.taken) == len(set(destination.taken)) == good
    assert len(letters(running.dead_letters.path("scripted"))) == 8


@pytest.mark.parametrize("is_ordered", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("empty", ["has no empty requests", "rejects empty requests"])
async def test_many_bad_batches_and_nothing_good_between(
    log: DurableLog, tmp_path: Path, empty: str, is_ordered: bool, size: int
) -> None:
    """Bad items alone stop nothing: what is behind them is tried, however many they are."""
    bad = [f"bad-{number}" for number in range(12 * size)]
    log.append([traces(*bad[start : start + size]) for start in range(0, len(bad), size)])
    log.append([traces("good"), traces("last")])
    failure = FAILURES["a 500"]
    destination = Scripted(
        lambda record: Delivered() if {"good", "last"} & set(names_of(record)) else failure,
        answer_empty=EMPTY_REQUESTS[empty],
    )
    options = {"max_blocked_seconds": 0.02, "is_ordered": is_ordered, "concurrency": 2}
    async with forwarding(log, destination, tmp_path, **options) as running:
        await running.until(lambda: set(destination.taken) == {"good", "last"})
        assert given_up(running.dead_letters.path("scripted")) <= set(bad)


@rejection
async def test_large_bad_batches_and_an_empty_request_that_is_rejected(
    log: DurableLog, tmp_path: Path, failure: Outcome
) -> None:
    """Nothing of them can be halved before another batch was accepted: many are passed."""
    bad = [f"bad-{number}" for number in range(40 * 30)]
    log.append([traces(*bad[start : start + 30]) for start in range(0, len(bad), 30)])
    log.append([traces("good")])
    destination = Scripted(
        lambda record: Delivered() if names_of(record) == ["good"] else failure,
        answer_empty=EMPTY_REQUESTS["rejects empty requests"],
    )
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: destination.taken == ["good"])
        assert given_up(running.dead_letters.path("scripted")) <= set(bad)


async def test_after_an_outage_few_requests_are_under_way(log: DurableLog, tmp_path: Path) -> None:
    """However many batches have been passed while all of them failed."""
    names = [f"span-{number}" for number in range(60)]
    log.append([traces(name, f"{name}-b") for name in names])
    is_down = True
    under_way = most = 0

    class Counting(Scripted):
        async def send(self, record: Record) -> Outcome:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await super().send(record)
            finally:
                under_way -= 1

    destination = Counting(
        lambda _: FAILURES["a 400"] if is_down else Delivered(),
        answer_empty=EMPTY_REQUESTS["rejects empty requests"],
    )
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: destination.asked > 60)
        is_down = False
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert most <= 1 + MAX_PASSED


async def test_the_cursor_waits_for_what_others_have_passed(tmp_path: Path) -> None:
    """Others arrive while one batch fails; after a crash it is still there to be sent."""
    failure = FAILURES["a 500"]
    destination = Scripted(
        lambda record: failure if "b" in names_of(record) or not names_of(record) else Delivered()
    )
    options = {"max_blocked_seconds": _BLOCKED_SECONDS}
    with opened(tmp_path / "log") as log:
        log.append([traces("a"), traces("b"), traces("c")])
        async with forwarding(log, destination, tmp_path, **options) as running:
            await running.until(lambda: "c" in destination.taken)
            assert log.cursor("scripted").position < log.end
    later = Scripted()
    with opened(tmp_path / "log") as log:
        async with forwarding(log, later, tmp_path) as running:
            await running.until(lambda: log.cursor("scripted").position == log.end)
    assert "b" in later.taken


async def test_a_destination_that_wants_order_is_not_overtaken(
    log: DurableLog, tmp_path: Path
) -> None:
    """Remote write loses samples that come late: a batch is halved in its place."""
    names = [f"span-{number}" for number in range(16)]
    log.append([traces(*names), traces("next")])
    destination = Scripted(poisoned(FAILURES["a 500"], "span-5"))
    options = {"max_blocked_seconds": _BLOCKED_SECONDS, "is_ordered": True}
    async with forwarding(log, destination, tmp_path, **options) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert destination.taken == [name for name in [*names, "next"] if name != "span-5"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("empty", EMPTY_REQUESTS)
async def test_whatever_fails_when_only_what_is_bad_is_given_up(
    tmp_path: Path, seed: int, empty: str
) -> None:
    """Random bad spans, outages and crashes: every other span arrives, none of them is a letter."""
    chance = random.Random(seed)
    batches = [
        [f"{batch}-{number}" for number in range(chance.choice([1, 2, 7, 30]))]
        for batch in range(30)
    ]
    names = {name for batch in batches for name in batch}
    bad = {name for name in names if chance.random() < chance.choice([0, 0.01, 0.05])}
    # What comes last is good: something has to show that the destination works.
    bad -= set(batches[-1])
    failures = [chance.choice(list(FAILURES.values())) for _ in range(3)]
    outages = 0

    def answer(record: Record) -> Outcome:
        nonlocal outages
        if outages or chance.random() < 0.02:
            outages = outages - 1 if outages else chance.randint(0, 25)
            return failures[0]
        return failures[1] if bad & set(names_of(record)) else Delivered()

    destination = Scripted(answer, answer_empty=EMPTY_REQUESTS[empty])
    with opened(tmp_path / "log") as log:
        log.append([traces(*batch) for batch in batches])
        options = {
            "max_blocked_seconds": 0.05,
            "concurrency": chance.choice([1, 4]),
            "is_ordered": chance.random() < 0.3,
        }
        for _ in range(chance.randint(0, 2)):
            async with forwarding(log, destination, tmp_path, **options):
                await asyncio.sleep(chance.uniform(0, 0.3))
        async with forwarding(log, destination, tmp_path, **options) as running:
            # Traffic goes on.
            async with asyncio.timeout(120):
                while log.cursor("scripted").position != log.end:
                    await asyncio.sleep(0.1)
                    if log.cursor("scripted").position != log.end:
                        log.append([traces("more")])
                        running.forwarder.wake()
    assert names - bad <= set(destination.taken)
    assert not bad & set(destination.taken)
    assert given_up(running.dead_letters.path("scripted")) <= bad


def test_the_bound_grows_with_the_logarithm() -> None:
    """A batch of two thousand costs 24 requests in vain, not four thousand."""
    assert [blame.max_failed_parts(items) for items in (1, 2, 512, 2000)] == [4, 4, 20, 24]


async def test_a_single_item_above_usual_limits_needs_no_other_batch(
    log: DurableLog, tmp_path: Path
) -> None:
    """Where status and size agree, an empty request is proof enough."""
    failure = Rejected("too large", 413, is_large=True)
    log.append([traces("large")])
    destination = Scripted(lambda record: Delivered() if record.items == 0 else failure)
    async with forwarding(log, destination, tmp_path) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert given_up(running.dead_letters.path("scripted")) == {"large"}


async def test_long_pauses_do_not_delay_the_others(
    log: DurableLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is up the next batch is sent at once, and its delivery ends the pause."""

    def forever(attempt: int, wish: float | None, most: float) -> float:
        return 3600.0

    monkeypatch.setattr(circuit, "backoff_seconds", forever)
    log.append([traces("good", "bad"), traces("next"), traces("more")])
    destination = Scripted(poisoned(FAILURES["a 500"], "bad"))
    options = {"max_blocked_seconds": _BLOCKED_SECONDS}
    async with forwarding(log, destination, tmp_path, **options) as running:
        await running.until(lambda: log.cursor("scripted").position == log.end)
    assert Counter(destination.taken) == Counter(["good", "next", "more"])
