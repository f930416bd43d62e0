"""What a place does after faults of its own, and what of them is logged."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW, OFF_SECONDS, FaultGuard
from sidelight.instrumentation.vllm.logger import INTERVAL_SECONDS
from support.logged import messages_of


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class PanicException(BaseException):
    """As an extension in Rust raises it."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(guard: FaultGuard, times: int, error: BaseException | None = None) -> None:
    for _ in range(times):
        guard.fault(error or ValueError("a prompt"))


def test_off_after_a_run_and_on_again_after_minutes(clock: Clock) -> None:
    """A place that is switched off is tried again, and switched off again if it still fails."""
    guard = FaultGuard("stat logger", clock=clock)
    for _ in range(3):
        states = []
        for faults, seconds in ((MAX_FAULTS_IN_A_ROW - 1, 0), (1, 0), (0, OFF_SECONDS - 1), (0, 1)):
            fail(guard, faults)
            clock.now += seconds
            states.append(guard.off)
        assert states == [False, True, True, False]


def test_a_success_ends_a_run(clock: Clock) -> None:
    """Rare faults never switch a place off."""
    guard = FaultGuard("stat logger", clock=clock)
    for _ in range(3):
        fail(guard, MAX_FAULTS_IN_A_ROW - 1)
        guard.passed()
    assert not guard.off
    assert guard.faults == 3 * (MAX_FAULTS_IN_A_ROW - 1)


def test_lines(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Faults cost a line in minutes, in vLLM's log, with a place but without the error's text."""
    guard = FaultGuard("stat logger", clock=clock)
    with caplog.at_level(logging.WARNING):
        try:
            raise ValueError("a prompt")
        except ValueError as error:
            fail(guard, MAX_FAULTS_IN_A_ROW, error)
        first, switched_off = messages_of(caplog)
        clock.now += INTERVAL_SECONDS
        assert not guard.off
        fail(guard, MAX_FAULTS_IN_A_ROW)
    assert len(messages_of(caplog)) == 4
    assert first.startswith("Sidelight: ValueError in the stat logger (test_faults.py:")
    assert "it is switched off for 5 minutes" in switched_off
    assert "a prompt" not in caplog.text
    assert all(line.endswith("the versions of vLLM and Sidelight.") for line in messages_of(caplog))


def test_a_place_that_stays_on(clock: Clock) -> None:
    """A thread that everything depends on is never switched off."""
    guard = FaultGuard("export thread", stays_on=True, clock=clock)
    fail(guard, 3 * MAX_FAULTS_IN_A_ROW)
    assert not guard.off


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), PanicException()])
def test_own_errors_of_any_kind(error: BaseException, clock: Clock) -> None:
    """Nothing cancels code without `await`, so these are ours as well."""
    guard = FaultGuard("middleware", clock=clock)
    fail(guard, 1, error)
    assert guard.faults == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_signals_of_the_process(error: BaseException, clock: Clock) -> None:
    """They are handled on the main thread while our code runs, and go on to the app.

    On another thread they can only be our own.
    """
    guard = FaultGuard("middleware", clock=clock)
    with pytest.raises(type(error)):
        guard.fault(error)
    assert guard.faults == 0
    thread = threading.Thread(target=guard.fault, args=[error])
    thread.start()
    thread.join()
    assert guard.faults == 1


def test_a_log_handler_that_raises(clock: Clock) -> None:
    """The guard never adds a fault of its own."""

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError

    broken = Broken()
    logger = logging.getLogger("vllm.sidelight")
    logger.addFilter(broken)
    try:
        guard = FaultGuard("middleware", clock=clock)
        fail(guard, MAX_FAULTS_IN_A_ROW)
    finally:
        logger.removeFilter(broken)
    assert guard.off
