"""Runs blocking calls of the event loop on threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")


class _Turn(NamedTuple):
    """A call that waits for a thread, and the future for its result."""

    call: Callable[[], Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class DaemonExecutor:
    """Runs calls on its own threads, like an executor of `concurrent.futures`.

    Its threads are daemons: a disk that hangs does not keep the process from exiting. A call is
    also a fifth cheaper, and every batch needs one or two. With one thread, calls run one after
    another. Threads start with the first calls.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._name = name
        self._max_threads = threads
        self._turns: SimpleQueue[_Turn | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._last: Callable[[], None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it accepts no more calls."""
        return self._is_closed

    async def run(self, call: Callable[[], _T]) -> _T:
        """Run `call` on a thread; returns or raises what it does.

        A call that is cancelled before it starts is skipped. Raises `RuntimeError` after
        `close`.
        """
        return await self.submit(call)

    def submit(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """Like `run`, without waiting."""
        if self._is_closed:
            raise RuntimeError(f"{self._name} is closed")
        if len(self._threads) < self._max_threads:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        self._turns.put(_Turn(call, done, loop))
        return done

    async def run_to_end(self, call: Callable[[], _T]) -> _T:
        """Like `run`, but a cancellation only takes effect once `call` has ended or was skipped."""
        # A write that goes on after its cancellation could overlap with the next one.
        turn = asyncio.ensure_future(self.run(call))
        cancelled: asyncio.CancelledError | None = None
        while not turn.done():
            try:
                await asyncio.wait([turn])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return turn.result()

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Accept no more calls. Those under way are finished, those that wait are skipped.

        `last` runs on a thread after them, if any thread has started.
        """
        self._is_closed = True
        self._last = last
        for _ in self._threads:
            self._turns.put(None)

    def join(self) -> None:
        """After `close`: block until the calls under way have ended."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (turn := self._turns.get()) is not None:
            call, done, loop = turn
            if done.cancelled():
                continue
            if self._is_closed:
                _tell(loop, done.cancel)
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 (the caller gets it, whatever it is)
                _tell(loop, _fail, done, error)
                del error
            else:
                _tell(loop, _finish, done, result)
                del result
            # A batch of some MB must not stay in memory until the next call.
            del turn, call, done
        last, self._last = self._last, None
        if last is not None:
            last()


async def off_loop_if(is_long: bool, call: Callable[[], _T]) -> _T:
    """Run `call` on a thread if it `is_long` (more than a few milliseconds), else on the loop.

    The loop is cheaper, but everything else waits for it.
    """
    return await run_in_thread(call, "sidelight-compute") if is_long else call()


async def run_in_thread(call: Callable[[], _T], name: str) -> _T:
    """Run `call` on a new thread; returns or raises what it does.

    For rare calls that may hang: they delay neither other calls nor the exit of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the caller gets it)
            _tell(loop, _fail, done, error)
        else:
            _tell(loop, _finish, done, result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await done


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[..., Any], *arguments: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed, so nothing waits for the result
        loop.call_soon_threadsafe(what, *arguments)


def _finish(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if isinstance(error, StopIteration):  # a future cannot hold one
        error = RuntimeError(f"a turn raised {error!r}")
    if not done.done():
        done.set_exception(error)
