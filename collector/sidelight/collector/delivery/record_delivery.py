"""One record's delivery: paced, retried, halved if it is to blame, at last dead-lettered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict, deque
from functools import partial

from sidelight.base.error_place import error_place
from sidelight.base.executor import DaemonExecutor
from sidelight.collector.delivery.answer_history import AnswerHistory
from sidelight.collector.delivery.attempts import Attempts, LetPass, never_passed
from sidelight.collector.delivery.blame import Part, Seen, Verdict, verdict
from sidelight.collector.delivery.circuit import Circuit, backoff_seconds
from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.faults import MAX_FAULTS, Faults, UnsendableError
from sidelight.collector.delivery.observer import Observer
from sidelight.collector.delivery.pace import Allowance, Pace
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.destinations.common.outcome import (
    Delivered,
    Exporter,
    Failure,
    Outcome,
    Rejected,
    Retry,
)
from sidelight.collector.log.record import Record
from sidelight.otlp.request import halves
from sidelight.otlp.signals import Signal

_logger = logging.getLogger(__name__)

# What halving may cost a backend: a burst for one bad batch, then ten requests a second.
MAX_HALVES_AT_ONCE = 120
MAX_HALVES_PER_MINUTE = 600


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
        max_blocked_seconds: float,
        max_under_way: int = 1,
        is_ordered: bool = False,
    ) -> None:
        """`max_under_way`: requests at a time, whatever the number of batches.

        `is_ordered`: what arrives out of order is lost, so that batches are passed late.
        """
        self._exporter = exporter
        self._name = exporter.name
        self._dead_letters = dead_letters
        self._disk = disk
        self._observer = observer
        self._status = status
        self._pace = Pace(exporter.pace_items_per_second)
        self._circuit = Circuit(max_backoff_seconds)
        self._max_backoff_seconds = max_backoff_seconds
        self._max_blocked_seconds = max_blocked_seconds
        self._is_ordered = is_ordered
        self._turns = asyncio.Semaphore(max_under_way)
        self._halves = Allowance(MAX_HALVES_AT_ONCE, MAX_HALVES_PER_MINUTE)
        self._accepted: Counter[Signal] = Counter()
        self._answers: defaultdict[Signal, AnswerHistory] = defaultdict(AnswerHistory)
        self._unproven = 0
        self._records = 0

    async def deliver(
        self,
        record: Record,
        let_others_pass: LetPass = never_passed,
        *,
        is_test: bool = False,
    ) -> None:
        """Return once the destination has accepted the record, or it is among the dead letters.

        `let_others_pass` is called when the records behind it are to be tried: what becomes of
        them shows whose fault it is. `is_test`: this is one of those, so it is sent at once.
        """
        parts = deque([Part(record)])
        self._records += 1
        attempts = Attempts(self._records, record.items, parts, let_others_pass, is_test)
        try:
            await self._deliver(parts, attempts)
        finally:
            self._answers[record.signal].forget_record(attempts.number)
            if attempts.timer is not None:
                attempts.timer.cancel()
        for reason, items in attempts.unsendable.items():
            self._report_unsendable(items, record.items, reason)
        if attempts.given_up:
            _logger.error(
                "%s rejected %d of %d items for good (status %s); see dead letters %s",
                self._name,
                attempts.given_up.total(),
                record.items,
                ", ".join(str(status or "none") for status in sorted(attempts.given_up)),
                self._dead_letters.path(self._name),
            )

    async def _deliver(self, parts: deque[Part], attempts: Attempts) -> None:
        while parts:
            part = parts.popleft()
            outcome = await self._attempt(part, attempts)
            if outcome not in (Verdict.WAIT, Verdict.REPEAT):
                self._answers[part.record.signal].forget(part)
            match outcome:
                case None:
                    pass
                # In order, for backends that want it, and depth first: what is good arrives early.
                case Verdict.HALVE if (pair := await self._halve(part)) is not None:
                    parts.extendleft(reversed(pair))
                case Verdict.HALVE | Verdict.GIVE_UP:
                    await self._dead_letter(part, attempts)
                case Verdict.WAIT if part.is_whole and attempts.may_halve:
                    parts.appendleft(part)
                # Behind the rest of the record: if that is accepted, it shows whose fault it is.
                case _:
                    parts.append(part)

    async def give_up(self, record: Record, reason: str) -> None:
        """Keep aside a record that cannot be read or sent: others wait behind it."""
        self._observer.dropped(self._name, record.items, "failed")
        await self._keep(record, None, reason)
        self._report_unsendable(record.items, record.items, reason)

    def _report_unsendable(self, items: int, of_items: int, reason: str) -> None:
        _logger.error(
            "%s does not get %d of %d items, after %d attempts: %s; see dead letters %s",
            self._name,
            items,
            of_items,
            MAX_FAULTS,
            reason,
            self._dead_letters.path(self._name),
        )

    async def _isolate(self, part: Part, reason: str, attempts: Attempts) -> None:
        """Halve a part on which our own code fails, down to the items that are to blame."""
        record = part.record
        pair = await self._halve(part) if part.is_whole and attempts.may_isolate() else None
        if pair is not None:
            attempts.parts.extendleft(reversed(pair))
            return
        self._observer.dropped(self._name, record.items, "failed")
        await self._keep(record, None, reason)
        attempts.unsendable[reason] += record.items

    async def _attempt(self, part: Part, attempts: Attempts) -> Verdict | None:
        """Send a part once, when its turn has come; what to do about it, None if it is done."""
        record = part.record
        await self._pace.wait(record.items)
        # Retries have pauses of their own. New parts, and what is sent at once, come in numbers.
        if (record.items < attempts.items or attempts.is_test) and not part.failures:
            await self._halves.use()
        is_suspect = self._is_suspect(part)
        if is_suspect:
            # The circuit is closed by what others deliver, so the pause is its own. The first
            # attempt needs none: until then it was the destination that was waited for.
            if part.suspect_attempts:
                await asyncio.sleep(
                    backoff_seconds(part.suspect_attempts, None, self._max_backoff_seconds)
                )
            part.suspect_attempts += 1
        next_step = Verdict.WAIT

        # Judged while the circuit lets nothing else through, and before it notes the outcome.
        async def send() -> Outcome:
            nonlocal next_step
            answers = self._answers[record.signal]
            # After an outage all that has waited is let through at the same time.
            async with self._turns:
                begun = answers.begin()
                outcome = await self._send(record, attempts.faults)
            if isinstance(outcome, Delivered):
                # A batch that is rejected item by item is no sign of a destination that works.
                if outcome.was_sent and outcome.rejected < record.items:
                    answers.accepted(begun)
                return outcome
            answers.failed(part, attempts.number, begun, is_suspect=is_suspect)
            next_step = await self._judge(part, outcome, attempts)
            return _as_seen(outcome, next_step)

        try:
            outcome = await self._circuit.run(
                send, is_suspect=is_suspect, is_at_once=attempts.is_test and not part.failures
            )
        except UnsendableError as error:
            self._status.recovered()
            await self._isolate(part, str(error), attempts)
            return None
        if isinstance(outcome, Delivered):
            attempts.raised_parts = 0
            await self._note_delivered(record, outcome)
            return None
        if isinstance(outcome, Retry):
            self._note_waiting(part, outcome, attempts)
        return next_step

    def _is_suspect(self, part: Part) -> bool:
        """Whether it fails, or the whole that it is a half of, while others are accepted."""
        is_failing = part.failing_since is not None
        return is_failing and self._accepted[part.record.signal] > part.accepted_before

    async def _judge(self, part: Part, failure: Failure, attempts: Attempts) -> Verdict:
        """What to do about a failure; asks the destination for more if that decides it."""
        record = part.record
        accepted = self._accepted[record.signal]
        now = time.monotonic()
        part.fails(failure, accepted, now)
        attempts.last_failure = failure
        attempts.is_small = all(
            other.failures and not other.is_whole for other in (part, *attempts.parts)
        )
        if attempts.timer is None:
            # The pauses between attempts may be longer than this time.
            attempts.timer = asyncio.get_running_loop().call_later(
                self._max_blocked_seconds, self._note_blocked, attempts
            )
        # A delivery since then, of whatever batch, shows that the destination works.
        if accepted > attempts.accepted_then:
            attempts.accepted_then, attempts.failed_parts = accepted, 0
        attempts.failed_parts += record.items < attempts.items
        decision = Verdict.ASK
        while decision is Verdict.ASK:
            seen = Seen(
                now,
                accepted,
                attempts.failed_parts,
                self._unproven,
                attempts.takes_empty,
                self._answers[record.signal].only_fails(attempts.number),
                may_be_passed=not self._is_ordered,
            )
            decision = verdict(
                part,
                failure,
                seen,
                items=attempts.items,
                max_blocked_seconds=self._max_blocked_seconds,
            )
            if decision is Verdict.ASK:
                attempts.takes_empty = await self._takes_empty(record.signal)
                if attempts.takes_empty:
                    part.vouched()
                if attempts.takes_empty is None:
                    # Halving in vain costs a few requests, giving up in vain costs an item.
                    decision = Verdict.HALVE if part.is_whole else Verdict.WAIT
        # On the way down one answer is enough; after a pause it may be another.
        if decision is not Verdict.HALVE:
            attempts.takes_empty = None
        if decision is Verdict.WAIT and self._may_be_passed(part, failure, attempts, now):
            attempts.let_others_pass(attempts.is_small)
        return decision

    def _note_blocked(self, attempts: Attempts) -> None:
        failure = attempts.last_failure
        is_destinations = isinstance(failure, Retry) and failure.is_destinations
        if not (self._is_ordered or is_destinations):
            attempts.let_others_pass(attempts.is_small)

    def _may_be_passed(self, part: Part, failure: Failure, attempts: Attempts, now: float) -> bool:
        """Whether the batches behind it are to be tried while it waits."""
        can_halve = part.is_whole and attempts.may_halve
        # What passes it makes its samples too old, so that even the good ones would be rejected.
        if self._is_ordered and (can_halve or not attempts.is_small):
            return False
        if isinstance(failure, Rejected):
            return True
        assert part.failing_since is not None
        is_long = now - part.failing_since >= self._max_blocked_seconds
        return is_long and not failure.is_destinations

    async def _takes_empty(self, signal: Signal) -> bool | None:
        """Whether it accepts an empty request; None if the backend has no such request."""
        try:
            outcome = await self._exporter.send_nothing(signal)
        except Exception:  # noqa: BLE001 (foreign exporters may raise anything)
            return False
        return None if outcome is None else isinstance(outcome, Delivered)

    async def _send(self, record: Record, faults: Faults) -> Outcome:
        try:
            return await self._exporter.send(record)
        except Exception as error:
            reason = f"sending fails: {error_place(error)}; report it"
            if faults.is_hopeless(error):
                raise UnsendableError(reason) from error
            return Retry(reason, cause="exception", is_destinations=True)

    def _note_recovered(self) -> None:
        if self._status.recovered():
            _logger.info("export to %s works again", self._name)

    async def _note_delivered(self, record: Record, delivered: Delivered) -> None:
        self._note_recovered()
        # A batch that is rejected item by item is no sign of a destination that works.
        if delivered.was_sent and delivered.rejected < record.items:
            self._accepted[record.signal] += 1
            self._unproven = 0
        self._observer.delivered(self._name, record.items - delivered.rejected)
        if delivered.rejected:
            await self._note_rejected(record, delivered)

    def _note_waiting(self, part: Part, failure: Retry, attempts: Attempts) -> None:
        self._observer.retried(self._name)
        # The destination is not in trouble if it accepts other batches.
        if not self._is_suspect(part):
            if self._status.troubled(failure.reason, failure.cause, failure.said):
                _logger.warning(
                    "export to %s failing, retrying; no data lost: %s%s",
                    self._name,
                    failure.reason,
                    f" ({failure.mark})" if failure.mark else "",
                )
        elif not attempts.is_suspected:
            attempts.is_suspected = True
            _logger.warning(
                "%s does not accept a batch of %d items but accepts others; it is retried, then "
                "split: %s",
                self._name,
                part.record.items,
                failure.reason,
            )

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

    async def _halve(self, part: Part) -> list[Part] | None:
        """Both halves of what failed whole, so that only what is bad is given up."""
        try:
            pair = await self._disk.run(lambda: halves(part.record.body()))
        except Exception as error:  # noqa: BLE001
            # Kept whole: sent again for ever it would hold up all behind it.
            _logger.error("a batch for %s cannot be halved: %s", self._name, error_place(error))
            return None
        if pair is None:
            return None
        return [part.half(part.record.with_body(body, items)) for body, items in pair]

    async def _dead_letter(self, part: Part, attempts: Attempts) -> None:
        record, failure = part.record, part.last_failure
        assert failure is not None
        status = failure.status if isinstance(failure, Rejected) else _status_of(failure.cause)
        if not part.strikes:
            self._unproven += 1
        # It is the part that was at fault; if the destination is too, the next batch shows it.
        self._note_recovered()
        self._observer.dropped(self._name, record.items, "dead_lettered")
        attempts.given_up[status or 0] += record.items
        await self._keep(record, status, with_words(failure.reason, failure.said))

    async def _keep(self, record: Record, status: int | None, reason: str) -> None:
        add = partial(self._dead_letters.add, self._name, record, status=status, reason=reason)
        await self._disk.run(add)


def _as_seen(failure: Failure, decision: Verdict) -> Outcome:
    """A failure as the circuit is to see it: what is waited out opens it."""
    # What is acted on at once needs no pause, and leaves the circuit closed.
    if decision is not Verdict.WAIT:
        return Rejected(failure.reason, 0)
    if isinstance(failure, Retry):
        return failure
    reason = (
        f"{failure.reason.partition(';')[0]}; it accepts nothing else either, so the fault is not "
        "in the batch: check the url (its scheme, too: http:// to a port with TLS is answered like "
        "this), the headers and the backend's version"
    )
    return Retry(reason, None, failure.cause, failure.said, failure.mark)


def _status_of(cause: str) -> int | None:
    """The HTTP status in the cause of a failure; None if there was no answer."""
    kind, _, status = cause.partition("_")
    return int(status) if kind == "http" and status.isdigit() else None
