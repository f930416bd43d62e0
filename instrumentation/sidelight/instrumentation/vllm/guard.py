"""Swallows the instrumentation's own faults, counts them, and gives up after a run of them."""

from __future__ import annotations

import logging
import traceback
from typing import Final

FAULTS_IN_A_ROW: Final = 10

_logger = logging.getLogger(__name__)


class Guard:
    """Faults of one place. `off` is True for good once `FAULTS_IN_A_ROW` came in a row."""

    __slots__ = ("_place", "_run", "faults", "off")

    def __init__(self, place: str) -> None:
        self._place = place
        self._run = 0
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
        if self._run >= FAULTS_IN_A_ROW and not self.off:
            self.off = True
            _logger.warning(
                "Sidelight: %d faults in a row in the %s: it is switched off until the next start.",
                self._run, self._place,
            )  # fmt: skip
