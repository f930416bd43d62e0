"""Counts the instrumentation's own faults, and switches a place off after a run of them."""

from __future__ import annotations

import logging
import traceback
from typing import Final

from sidelight import conventions as names

MAX_FAULTS_IN_A_ROW: Final = 10

_logger = logging.getLogger(__name__)


class FaultGuard:
    """Counts the faults of one place.

    `off` becomes True, for good, after `MAX_FAULTS_IN_A_ROW` faults without a success between
    them. A place that `stays_on` is never off.
    """

    __slots__ = ("_place", "_run", "_stays_on", "_warned_of_run", "faults", "off")

    def __init__(self, place: str, *, stays_on: bool = False) -> None:
        self._place = place
        self._stays_on = stays_on
        self._run = 0
        self._warned_of_run = False
        self.faults = 0
        self.off = False

    def passed(self) -> None:
        """Note a success, which ends a run of faults."""
        self._run = 0

    def fault(self, error: BaseException) -> None:
        """Note a fault. The first one is logged, and the one that completes a run."""
        self.faults += 1
        self._run += 1
        if self.faults == 1:
            # The error's text may quote a prompt, so only its class and its place are logged.
            frame = traceback.extract_tb(error.__traceback__)[-1:]
            place = f"{frame[0].filename}:{frame[0].lineno}" if frame else "unknown place"
            _logger.warning(
                "Sidelight: %s in the %s (%s). vLLM is not affected; some telemetry is missing.",
                type(error).__name__, self._place, place,
            )  # fmt: skip
        if self._run >= MAX_FAULTS_IN_A_ROW and not self._warned_of_run:
            self._warned_of_run = True
            self.off = not self._stays_on
            _logger.warning(
                "Sidelight: %d faults in a row in the %s: %s.",
                self._run,
                self._place,
                f"it stays on and counts further ones in {names.INSTRUMENTATION_FAULTS}"
                if self._stays_on
                else "it is switched off until vLLM restarts",
            )  # fmt: skip
