"""Memory that several parts share: bounded together, given in turn, and never lost."""

from __future__ import annotations

import asyncio

import pytest

from sidelight.base.budget import Budget, MemoryPool, OverBudgetError


def test_each_part_sees_what_all_use() -> None:
    """A limit bounds the whole pool, not the part's own use."""
    pool = MemoryPool()
    http, grpc = Budget(100, pool), Budget(50, pool)
    http.take(40)
    with pytest.raises(OverBudgetError):
        grpc.take(11)
    grpc.take(10)
    assert (http.used, grpc.used, pool.used) == (40, 10, 50)


async def test_who_waits_is_served_in_turn() -> None:
    """A small request does not overtake a large one, which would wait for ever."""
    budget = Budget(100)
    budget.take(70)
    served: list[str] = []

    async def wait(name: str, count: int) -> None:
        await budget.take_in_turn(count, 60)
        served.append(name)

    large = asyncio.create_task(wait("large", 60))
    await asyncio.sleep(0)
    small = asyncio.create_task(wait("small", 1))
    await asyncio.sleep(0)
    assert served == []
    budget.give_back(70)
    await asyncio.gather(large, small)
    assert served == ["large", "small"]
    assert budget.used == 61


async def test_those_that_wait_leave_a_quarter_to_others() -> None:
    """Unless one alone needs more: it is served when nothing else is held."""
    budget = Budget(100)
    await budget.take_in_turn(75, 60)
    with pytest.raises(OverBudgetError):
        await budget.take_in_turn(1, 0.01)
    budget.take(25)
    budget.give_back(100)
    await budget.take_in_turn(90, 60)
    assert budget.used == 90


async def test_who_gives_up_holds_nothing() -> None:
    """By its timeout or because it was cancelled; those behind it go on."""
    budget = Budget(100)
    budget.take(75)
    with pytest.raises(OverBudgetError):
        await budget.take_in_turn(10, 0.01)
    waiting = asyncio.create_task(budget.take_in_turn(10, 60))
    behind = asyncio.create_task(budget.take_in_turn(20, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    budget.give_back(75)
    await behind
    assert budget.used == 20


async def test_a_grant_that_comes_with_a_cancellation_is_not_lost() -> None:
    """Both happen in one turn of the event loop."""
    budget = Budget(100)
    budget.take(75)
    waiting = asyncio.create_task(budget.take_in_turn(10, 60))
    await asyncio.sleep(0)
    budget.give_back(75)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.used == 0
