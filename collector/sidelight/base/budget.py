"""Memory that several parts of the process share, each up to a limit of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple


class OverBudgetError(Exception):
    """The memory is not free at the moment."""

    def __init__(self) -> None:
        super().__init__("too much is being received at once; try again")


class _Waiting(NamedTuple):
    budget: Budget
    size: int
    granted: asyncio.Future[None]


class MemoryPool:
    """What all budgets of a process use together. For use in one thread."""

    def __init__(self) -> None:
        self.used = 0
        self._waiting: deque[_Waiting] = deque()

    def wait(self, budget: Budget, count: int) -> asyncio.Future[None]:
        """A future that is done once `count` bytes have been taken for `budget`, in turn."""
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(budget, count, granted))
        self.grant()
        return granted

    def grant(self) -> None:
        """Take for those that wait, in turn, as far as there is room."""
        while self._waiting:
            budget, size, granted = self._waiting[0]
            if not granted.done():
                if not budget.leaves_room_for_others(size):
                    return
                budget.take(size)
                granted.set_result(None)
            self._waiting.popleft()


class Budget:
    """One part's use of a pool. `max_bytes` bounds what the whole pool uses when it takes more."""

    def __init__(self, max_bytes: int, pool: MemoryPool | None = None) -> None:
        """Without a `pool` it shares its memory with no other."""
        self.max_bytes = max_bytes
        self.used = 0
        self._pool = pool or MemoryPool()

    @property
    def has_plenty(self) -> bool:
        """Whether less than a quarter is used, so that a body may get memory in advance."""
        return self._pool.used < self.max_bytes // 4

    def leaves_room_for_others(self, count: int) -> bool:
        """Whether `count` more bytes leave a quarter free."""
        return self._pool.used + count <= max(self.max_bytes * 3 // 4, count)

    def take(self, count: int) -> None:
        """Reserve `count` bytes. Raises `OverBudgetError` if they are not free."""
        if count > 0 and self._pool.used + count > self.max_bytes:
            raise OverBudgetError
        self.used += count
        self._pool.used += count

    def give_back(self, count: int) -> None:
        """Free `count` bytes."""
        self.used -= count
        self._pool.used -= count
        self._pool.grant()

    async def take_in_turn(self, count: int, timeout_seconds: float) -> None:
        """Reserve `count` bytes as soon as they are free, after those that wait already.

        Raises `OverBudgetError` after `timeout_seconds`.
        """
        granted = self._pool.wait(self, count)
        if granted.done():
            return
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.shield(granted)
        except BaseException as error:
            # It may have been granted at the very moment of the timeout or cancellation.
            if granted.done():
                self.give_back(count)
            else:
                granted.cancel()
                # Others behind it may need less.
                self._pool.grant()
            if isinstance(error, TimeoutError):
                raise OverBudgetError from None
            raise
