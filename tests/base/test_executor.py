"""Turns on a thread: in order, each answered once, none begun after the end."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from sidelight.base.executor import DaemonExecutor
from support.waiting import eventually_async


async def test_turns_are_taken_in_order_on_one_thread() -> None:
    """What two turns touch needs no lock of its own."""
    worker = DaemonExecutor("test")
    threads: list[int] = []
    found: list[int] = []

    def turn(number: int) -> int:
        threads.append(threading.get_ident())
        found.append(number)
        return number

    results = await asyncio.gather(*(worker.run(partial(turn, n)) for n in range(20)))
    worker.close()
    assert results == found == list(range(20))
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == 1


async def test_several_threads_take_turns_at_once() -> None:
    """As many as were asked for are under way together, and no more."""
    worker = DaemonExecutor("test", threads=3)
    meeting = threading.Barrier(3, timeout=120)
    await asyncio.gather(*(worker.run(meeting.wait) for _ in range(3)))
    threads = await asyncio.gather(*(worker.run(threading.get_ident) for _ in range(30)))
    worker.close()
    assert len(set(threads)) <= 3


async def test_what_a_turn_raises_reaches_its_caller() -> None:
    """And the next turn is taken all the same."""
    worker = DaemonExecutor("test")

    def fail() -> None:
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        await worker.run(fail)
    assert await worker.run(lambda: "next") == "next"
    worker.close()


async def test_no_exception_leaves_its_caller_waiting() -> None:
    """Not even the one that no future takes, which `next` raises."""
    worker = DaemonExecutor("test")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(worker.run(lambda: next(iter(()))), 120)
    worker.close()


async def test_a_cancelled_turn_is_left_out() -> None:
    """Who waits no more is not worked for; what is under way is finished."""
    worker = DaemonExecutor("test")
    go_on = threading.Event()
    begun: list[str] = []

    def first() -> None:
        begun.append("first")
        go_on.wait(120)

    under_way = asyncio.create_task(worker.run(first))
    waiting = asyncio.create_task(worker.run(lambda: begun.append("second")))
    await eventually_async(lambda: begun)
    waiting.cancel()
    go_on.set()
    await under_way
    await worker.run(lambda: begun.append("third"))
    worker.close()
    assert begun == ["first", "third"]


async def test_after_closing_no_turn_is_begun() -> None:
    """Turns that wait are cancelled, new ones refused, and `join` returns."""
    worker = DaemonExecutor("test")
    go_on, begun = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        go_on.wait(120)
        return "finished"

    under_way = asyncio.create_task(worker.run(first))
    waiting = asyncio.create_task(worker.run(lambda: "never"))
    await asyncio.to_thread(begun.wait, 120)
    worker.close()
    go_on.set()
    assert await under_way == "finished"
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(lambda: "never")
    await asyncio.to_thread(worker.join)


async def test_a_last_call_is_made_behind_what_is_under_way() -> None:
    """What waits is skipped; the last call sees what was done before it."""
    worker = DaemonExecutor("test")
    calls: list[str] = []
    is_busy, may_end = threading.Event(), threading.Event()

    def busy() -> None:
        is_busy.set()
        assert may_end.wait(120)
        calls.append("busy")

    worker.submit(busy)
    skipped = worker.submit(lambda: calls.append("skipped"))
    assert await asyncio.to_thread(is_busy.wait, 120)
    worker.close(lambda: calls.append("last"))
    may_end.set()
    await asyncio.to_thread(worker.join)
    assert calls == ["busy", "last"]
    await asyncio.sleep(0)
    assert skipped.cancelled()


async def test_a_cancelled_turn_that_runs_to_its_end() -> None:
    """Cancelled however often, it ends with its call."""
    worker = DaemonExecutor("test")
    may_end = threading.Event()
    turn = asyncio.create_task(worker.run_to_end(lambda: may_end.wait(120)))
    for _ in range(3):
        await asyncio.sleep(0)
        turn.cancel()
    await asyncio.sleep(0)
    assert not turn.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await turn
    worker.close()
