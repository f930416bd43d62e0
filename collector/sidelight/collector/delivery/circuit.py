"""When to ask a backend in trouble again, and with how many requests: one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sidelight.collector.destinations.common.outcome import Outcome, Retry

_FIRST_BACKOFF_SECONDS = 0.2


def backoff_seconds(attempt: int, wish_seconds: float | None, most_seconds: float) -> float:
    """Jitter below a doubling ceiling; a backend's own wish counts, within reason."""
    if wish_seconds is not None:
        return min(wish_seconds, 10 * most_seconds)
    ceiling = min(most_seconds, _FIRST_BACKOFF_SECONDS * 2 ** min(attempt, 16))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 (jitter, no secret)


class Circuit:
    """Lets any number of requests through while they succeed.

    After a failure one request at a time asks, at growing intervals, and the others wait
    until one succeeds: a backend that comes up again is not run over.
    """

    def __init__(self, max_backoff_seconds: float) -> None:
        self._max_backoff_seconds = max_backoff_seconds
        self._failures = 0
        self._wish_seconds: float | None = None
        self._asking = asyncio.Lock()
        self._recovered = asyncio.Event()

    async def run(
        self,
        send: Callable[[], Awaitable[Outcome]],
        *,
        is_suspect: bool = False,
        is_at_once: bool = False,
    ) -> Outcome:
        """The outcome of one `send`, made when its turn has come.

        `is_suspect`: the backend accepts other batches and not this one, so that its failure says
        nothing about the backend. `is_at_once`: it need not wait for a turn.
        """
        while self._failures and not is_at_once:
            # Fair: batches that wait here are tried in turn, so that one bad batch is found out.
            async with self._asking:
                # The request that had the turn before may have succeeded.
                if not self._failures:
                    break
                await self._pause()
                return await self._note(send, is_suspect)
        return await self._note(send, is_suspect)

    async def _pause(self) -> None:
        """Until the backend may be asked again, or another request has succeeded."""
        seconds = backoff_seconds(self._failures, self._wish_seconds, self._max_backoff_seconds)
        self._recovered.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._recovered.wait()

    async def _note(self, send: Callable[[], Awaitable[Outcome]], is_suspect: bool) -> Outcome:
        before = self._failures
        outcome = await send()
        # A rejection is an answer too: the backend is there.
        if not isinstance(outcome, Retry):
            self._failures = 0
            self._recovered.set()
        elif self._failures == before and not is_suspect:
            # Requests that fail together are one failure.
            self._failures += 1
            self._wish_seconds = outcome.after_seconds
        return outcome
