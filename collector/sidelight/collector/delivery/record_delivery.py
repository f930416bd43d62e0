"""One record's delivery: paced, retried, halved if refused, at last among the dead letters."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial

from sidelight.base.executor import DaemonExecutor
from sidelight.collector.delivery.circuit import Circuit
from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.faults import MAX_FAULTS, Faults, place
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.pace import Pace
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.destinations.common.outcome import (
    Delivered,
    Exporter,
    Outcome,
    Rejected,
    Retry,
)
from sidelight.collector.log.record import Record
from sidelight.otlp.request import halves

_logger = logging.getLogger(__name__)


class _UnsendableError(Exception):
    """Sending a record fails of itself, again and again; the message says where."""


class RecordDelivery:
    """Delivers the records of one subscription; several may be under way at the same time."""

    def __init__(
        self,
        exporter: Exporter,
        *,
        dead_letters: DeadLetters,
        disk: DaemonExecutor,
        observer: Observer,
        status: DeliveryStatus,
        max_backoff_seconds: float,
    ) -> None:
        self._exporter = exporter
        self._name = exporter.name
        self._dead_letters = dead_letters
        self._disk = disk
        self._observer = observer
        self._status = status
        self._pace = Pace(exporter.pace_items_per_second)
        self._circuit = Circuit(max_backoff_seconds)

    async def deliver(self, record: Record) -> None:
        """Return once the destination has taken the record, or it is among the dead letters."""
        refused: Counter[int] = Counter()
        await self._deliver(record, refused)
        if refused:
            _logger.error(
                "%s refused %d of %d items for good (status %s); see dead letters %s",
                self._name,
                refused.total(),
                record.items,
                ", ".join(map(str, sorted(refused))),
                self._dead_letters.path(self._name),
            )

    async def give_up(self, record: Record, reason: str) -> None:
        """Keep aside a record that cannot be read or sent: others wait behind it."""
        self._observer.dropped(self._name, record.items, "failed")
        await self._keep(record, None, reason)
        _logger.error(
            "%s does not get %d items, after %d attempts: %s; see dead letters %s",
            self._name,
            record.items,
            MAX_FAULTS,
            reason,
            self._dead_letters.path(self._name),
        )

    async def _deliver(self, record: Record, refused: Counter[int]) -> None:
        """As `deliver`; counts in `refused` the items that were refused alone, by status."""
        faults = Faults()
        while True:
            await self._pace.wait(record.items)
            try:
                outcome = await self._circuit.run(partial(self._send, record, faults))
            except _UnsendableError as error:
                self._status.recovered()
                await self.give_up(record, str(error))
                return
            match outcome:
                case Delivered() as delivered:
                    self._recovered()
                    self._observer.delivered(self._name, record.items - delivered.rejected)
                    if delivered.rejected:
                        await self._note_rejected(record, delivered)
                    return
                case Rejected() as refusal:
                    self._recovered()
                    await self._halve(record, refusal, refused)
                    return
                case Retry(reason):
                    self._observer.retried(self._name)
                    if self._status.troubled(reason):
                        _logger.warning(
                            "export to %s failing, retrying; no data lost: %s", self._name, reason
                        )

    async def _send(self, record: Record, faults: Faults) -> Outcome:
        try:
            return await self._exporter.send(record)
        except Exception as error:
            reason = f"sending fails: {place(error)}"
            if faults.is_hopeless(error):
                raise _UnsendableError(reason) from error
            return Retry(reason)

    def _recovered(self) -> None:
        if self._status.recovered():
            _logger.info("export to %s works again", self._name)

    async def _note_rejected(self, record: Record, delivered: Delivered) -> None:
        self._observer.dropped(self._name, delivered.rejected, "rejected")
        why = delivered.reason
        if delivered.said:
            await self._keep(record, 200, with_words(why, delivered.said))
            letters = f"see dead letters {self._dead_letters.path(self._name)}"
            why = f"{why}; {letters}" if why else letters
        _logger.warning(
            "%s rejected %d of %d items: %s",
            self._name,
            delivered.rejected,
            record.items,
            why or "it does not say why",
        )

    async def _halve(self, record: Record, refusal: Rejected, refused: Counter[int]) -> None:
        """Send both halves of what was refused whole, so that only what is bad is given up."""
        try:
            parts = await self._disk.run(lambda: halves(record.body()))
        except Exception as error:  # noqa: BLE001
            # Kept whole: sent again for ever it would hold up all behind it.
            _logger.error("what %s refused cannot be halved: %s", self._name, place(error))
            parts = None
        if parts is None:
            self._observer.dropped(self._name, record.items, "refused")
            refused[refusal.status] += record.items
            await self._keep(record, refusal.status, with_words(refusal.reason, refusal.said))
            return
        for body, items in parts:
            await self._deliver(record.with_body(body, items), refused)

    async def _keep(self, record: Record, status: int | None, reason: str) -> None:
        add = partial(self._dead_letters.add, self._name, record, status=status, reason=reason)
        await self._disk.run(add)
