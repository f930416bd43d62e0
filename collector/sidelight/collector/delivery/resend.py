"""Sends the dead letters of one destination again, to that destination alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sidelight.base.error_place import error_place
from sidelight.collector.delivery.circuit import backoff_seconds
from sidelight.collector.delivery.dead_letter_files import DeadLetter
from sidelight.collector.delivery.pace import Pace
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.destinations.common.outcome import (
    Delivered,
    Exporter,
    Outcome,
    Rejected,
    Retry,
)
from sidelight.collector.log.record import Record

MAX_ATTEMPTS = 3
"""Of one dead letter, if the destination asks to try again."""
MAX_FAILED_IN_A_ROW = 5
"""Dead letters, if the destination cannot be asked whether it is to blame itself."""
_MAX_PAUSE_SECONDS = 5.0


@dataclass(slots=True)
class Resent:
    """What has become of the dead letters: letters, and items where that is said."""

    delivered: int = 0
    delivered_items: int = 0
    rejected: int = 0
    """Rejected again, or alone in failing; they stay."""
    partial: int = 0
    """Left out, because the destination has accepted some of each."""
    unreadable: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Why letters stay, with their number."""
    stopped: str | None = None
    """Why the destination accepts nothing now; None if all were tried."""

    @property
    def left(self) -> int:
        """Dead letters that were tried and stay."""
        return self.rejected + self.partial + self.unreadable


class Resend:
    """Sends dead letters one after another, each as it was when it was rejected.

    `remove` deletes a letter, and is called once the destination has accepted it. `keep_rest`
    stores again what a destination has accepted in part, with the status and the reason.
    """

    def __init__(
        self,
        exporter: Exporter,
        *,
        remove: Callable[[DeadLetter], None],
        keep_rest: Callable[[Record, int, str], None],
        with_partial: bool = False,
    ) -> None:
        self._exporter = exporter
        self._remove = remove
        self._keep_rest = keep_rest
        self._with_partial = with_partial
        self._pace = Pace(exporter.pace_items_per_second)
        self._failed_in_a_row = 0
        self.result = Resent()

    async def run(self, letters: Iterable[DeadLetter], progress: Callable[[], None]) -> Resent:
        """Send all of them, or as many as the destination accepts; `progress` follows each.

        Raises `OSError` if a letter that was delivered cannot be removed.
        """
        for letter in letters:
            await self._send(letter)
            progress()
            if self.result.stopped is not None:
                break
        return self.result

    async def _send(self, letter: DeadLetter) -> None:
        result = self.result
        if letter.record is None:
            result.unreadable += 1
            return
        if letter.is_partial and not self._with_partial:
            result.partial += 1
            return
        if letter.record.signal not in self._exporter.signals:
            self._stays(f"its configuration takes no {letter.record.signal}")
            return
        outcome = await self._outcome(letter.record)
        match outcome:
            case Delivered() if outcome.rejected < letter.record.items or not outcome.rejected:
                self._failed_in_a_row = 0
                result.delivered += 1
                result.delivered_items += letter.record.items - outcome.rejected
                if outcome.rejected:
                    # Before it is removed: a crash between the two must not lose it.
                    self._keep_rest(letter.record, 200, with_words(outcome.reason, outcome.said))
                    result.partial += 1
                self._remove(letter)
            case Delivered():
                self._stays(outcome.reason or "all of it was rejected")
            case Rejected():
                await self._note_rejected(letter.record, outcome)
            case Retry():
                await self._note_failing(letter.record, outcome)

    def _stays(self, reason: str) -> None:
        self.result.rejected += 1
        self.result.reasons[reason] = self.result.reasons.get(reason, 0) + 1

    async def _outcome(self, record: Record) -> Outcome:
        """Of the last attempt."""
        attempt = 0
        while True:
            attempt += 1
            await self._pace.wait(record.items)
            outcome = await self._attempt(record)
            if not isinstance(outcome, Retry) or attempt == MAX_ATTEMPTS:
                return outcome
            await asyncio.sleep(backoff_seconds(attempt, outcome.after_seconds, _MAX_PAUSE_SECONDS))

    async def _attempt(self, record: Record) -> Outcome:
        try:
            return await self._exporter.send(record)
        except Exception as error:  # noqa: BLE001 (foreign exporters may raise anything)
            return Rejected(f"sending fails: {error_place(error)}", 0)

    async def _note_rejected(self, record: Record, failure: Rejected) -> None:
        """Go on, unless it has become clear that the destination rejects everything."""
        self._failed_in_a_row += 1
        self._stays(failure.reason)
        is_checked = self._failed_in_a_row == MAX_FAILED_IN_A_ROW
        if is_checked and await self._accepts_empty(record) is False:
            self.result.stopped = failure.reason

    async def _note_failing(self, record: Record, failure: Retry) -> None:
        """Go on behind a letter that fails alone; stop if the destination accepts nothing."""
        self._failed_in_a_row += 1
        is_well: bool | None = None
        if not failure.is_destinations:
            is_well = await self._accepts_empty(record)
        if is_well or (is_well is None and not failure.is_destinations and self._may_go_on()):
            self._stays(failure.reason)
        else:
            self.result.stopped = failure.reason

    def _may_go_on(self) -> bool:
        return self._failed_in_a_row < MAX_FAILED_IN_A_ROW

    async def _accepts_empty(self, record: Record) -> bool | None:
        try:
            outcome = await self._exporter.send_nothing(record.signal)
        except Exception:  # noqa: BLE001 (foreign exporters may raise anything)
            return False
        return None if outcome is None else isinstance(outcome, Delivered)
