"""Counts the instrumentation's own faults; a run of them switches a place off for minutes.

A place catches `BaseException` around code of its own, never around the app's, and hands what it
caught to its guard. Only what interrupts the whole process goes on: a signal may be handled
while our code runs, and its KeyboardInterrupt or SystemExit is the app's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.logger import INTERVAL_TEXT, Occasions, logger

MAX_FAULTS_IN_A_ROW: Final = 10
OFF_SECONDS: Final = 300.0

_OWN_FOLDER: Final = str(Path(__file__).parents[1])
_WHAT_TO_DO: Final = "Report this line with the versions of vLLM and Sidelight."


class FaultGuard:
    """Counts the faults of one place.

    `off` is True for `OFF_SECONDS` after `MAX_FAULTS_IN_A_ROW` faults without a success between
    them; then the place is tried again. A place that `stays_on` is never off.
    """

    __slots__ = ("_clock", "_occasions", "_off_until", "_place", "_run", "_stays_on", "faults")

    def __init__(
        self, place: str, *, stays_on: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._place = place
        self._stays_on = stays_on
        self._clock = clock
        self._occasions = Occasions(clock)
        self._run = 0
        self._off_until: float | None = None
        self.faults = 0

    @property
    def off(self) -> bool:
        """Whether the place is to do nothing now."""
        if self._off_until is None:
            return False
        if self._clock() < self._off_until:
            return True
        self._off_until = None
        self._run = 0
        return False

    def passed(self) -> None:
        """Note a success, which ends a run of faults."""
        self._run = 0

    def fault(self, error: BaseException) -> None:
        """Note a fault, and log it if no other was logged in the last minutes.

        Raises `error` again if it is not a fault but interrupts the process.
        """
        reraise_interrupt(error)
        self.faults += 1
        self._run += 1
        # A handler or filter of the app may raise, and so may anything when memory is short.
        with suppress(Exception):
            self._note(error)

    def _note(self, error: BaseException) -> None:
        ends_run = self._run == MAX_FAULTS_IN_A_ROW
        if ends_run and not self._stays_on:
            self._off_until = self._clock() + OFF_SECONDS
        if self._occasions.due("fault"):
            # The error's text may quote a prompt, so only its class and its place are logged.
            logger.warning(
                "Sidelight: %s in the %s (%s). vLLM is not affected; some telemetry is missing. "
                "%s", type(error).__name__, self._place, origin(error), _WHAT_TO_DO,
            )  # fmt: skip
        if ends_run and self._occasions.due("run"):
            logger.warning(
                "Sidelight: %d faults in a row in the %s (the last one: %s, %s): %s. %s",
                MAX_FAULTS_IN_A_ROW,
                self._place,
                type(error).__name__,
                origin(error),
                f"it stays on and counts further ones in {names.INSTRUMENTATION_FAULTS}"
                if self._stays_on
                else f"it is switched off for {INTERVAL_TEXT}",
                _WHAT_TO_DO,
            )


def reraise_interrupt(error: BaseException) -> None:
    """Raise `error` again if a signal of the process may have raised it while our code ran."""
    # Python handles signals on the main thread alone. A cancellation comes at an `await`.
    is_interrupt = isinstance(error, KeyboardInterrupt | SystemExit)
    if is_interrupt and threading.current_thread() is threading.main_thread():
        raise error


def origin(error: BaseException) -> str:
    """Where `error` was raised: the innermost place in our own code, or else the innermost."""
    own = innermost = "unknown place"
    # Not by the `traceback` module, which reads the source files.
    traceback = error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        innermost = f"{Path(file).name}:{traceback.tb_lineno}"
        if file.startswith(_OWN_FOLDER):
            own = innermost
        traceback = traceback.tb_next
    return innermost if own == "unknown place" else own
