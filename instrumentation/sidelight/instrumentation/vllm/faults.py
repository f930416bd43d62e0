"""Counts the instrumentation's own faults, and switches a place off after a run of them."""

from __future__ import annotations

import logging
import traceback
from typing import Final

from sidelight import conventions as names

MAX_FAULTS_IN_A_ROW: Final = 10

_logger = logging.getLogger(__name__)


class FaultGuard:
    """Faults of one place. `off` is True for good once `MAX_FAULTS_IN_A_ROW` came in a row.

    A place that `stays_on` is never off: its faults cost their own telemetry and nobody's time.
    """

    __slots__ = ("_place", "_run", "_said", "_stays_on", "faults", "off")

    def __init__(self, place: str, *, stays_on: bool = False) -> None:
        self._place = place
        self._stays_on = stays_on
        self._run = 0
        self._said = False
        self.faults = 0
        self.off = False

    def passed(self) -> None:
        """Note that a call went well, which ends a run of faults."""
        self._run = 0

    def fault(self, error: BaseException) -> None:
        """Note a fault; the first one and the last straw are logged, without any content."""
        self.faults += 1
        self._run += 1
        if self.faults == 1:
            # The error's text may quote a prompt: only its class and place are told.
            frame = traceback.extract_tb(error.__traceback__)[-1:]
            place = f"{frame[0].filename}:{frame[0].lineno}" if frame else "unknown place"
            _logger.warning(
                "Sidelight: %s in the %s (%s). vLLM is not affected; some telemetry is missing.",
                type(error).__name__, self._place, place,
            )  # fmt: skip
        if self._run >= MAX_FAULTS_IN_A_ROW and not self._said:
            self._said = True
            self.off = not self._stays_on
            _logger.warning(
                "Sidelight: %d faults in a row in the %s: %s.",
                self._run,
                self._place,
                f"it goes on, and counts more of them in {names.INSTRUMENTATION_FAULTS}"
                if self._stays_on
                else "it is switched off until the next start",
            )  # fmt: skip
