"""Whose fault a failed send is: that of what was sent, or the destination's. Pure.

A status does not say it: a proxy answers 400 to everything, and a database behind a backend makes
it answer 500 to one text. What says it is what else the destination accepts: the next batch, the
other half, a request without items. Nothing is given up before the destination has accepted
something else after the failure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from sidelight.collector.destinations.common.outcome import Failure, Retry
from sidelight.collector.log.record import Record

# A span fails alone as often as this before it is given up, each time after something else was
# accepted: behind a load balancer one node of several may be at fault, and fail at random. Overload
# does so more often.
MAX_STRIKES = 3
MAX_STRIKES_OVERLOADED = 8
_OVERLOADED = ("http_503", "grpc_unavailable", "grpc_resource_exhausted")
# What may be given up on the word of an empty request alone; then something must be accepted.
MAX_UNPROVEN = 3


class Verdict(Enum):
    """What to do about a failure."""

    WAIT = auto()
    """Send the same again after a pause: the destination is at fault, or it is not known."""
    ASK = auto()
    """Send a request without items first; its outcome decides."""
    HALVE = auto()
    REPEAT = auto()
    """Send the same again, after what else there is of the record."""
    GIVE_UP = auto()
    """It is to blame: keep it among the dead letters."""


@dataclass(slots=True)
class Part:
    """A record, or a part of one, that is being delivered.

    `accepted_before` counts what the destination had accepted when the record failed first or, of
    a part, when the whole that it is a half of failed last. Times are those of a monotonic clock.
    """

    record: Record
    accepted_before: int = 0
    failing_since: float | None = None
    """Since when the record fails, as a whole or in parts."""
    is_half: bool = False
    failures: int = 0
    alone_since: float = 0.0
    """Since when it fails as it is."""
    strikes: int = 0
    """How often it failed between two acceptances; `AnswerHistory` counts."""
    vouched_strikes: int = 0
    """How often it failed between two empty requests that were accepted."""
    is_vouched: bool = False
    """An empty request was accepted since its last failure."""
    is_vouched_before: bool = False
    """One was also accepted right before that failure."""
    accepted_at_failure: int = 0
    suspect_attempts: int = 0
    """How often it was sent while others were accepted."""
    last_failure: Failure | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it may be halved."""
        return self.record.items > 1

    def fails(self, failure: Failure, accepted: int, now: float) -> None:
        """Note a failure."""
        self.last_failure = failure
        if self.failing_since is None:
            # What was accepted while it was under way says nothing of the time after it failed.
            self.failing_since, self.accepted_before = now, accepted
        if self.failures == 0:
            self.alone_since = now
        self.is_vouched, self.is_vouched_before = False, self.is_vouched
        self.failures += 1
        self.accepted_at_failure = accepted

    def vouched(self) -> None:
        """The destination has accepted an empty request since the part failed."""
        self.vouched_strikes += self.is_vouched_before
        self.is_vouched, self.is_vouched_before = True, False

    def half(self, record: Record) -> Part:
        """A half of it, after it has failed."""
        return Part(record, self.accepted_at_failure, self.failing_since, is_half=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the destination.

    `accepted` counts its deliveries, `failed_parts` the parts of the record that have failed since
    the last one.
    """

    now: float
    accepted: int
    failed_parts: int
    unproven: int
    """What was given up since the last delivery."""
    takes_empty: bool | None
    """Whether it has accepted an empty request since the failure; None if it was not asked."""
    only_this_fails: bool
    """Whether no other record has begun to fail since the last delivery."""
    may_be_passed: bool
    """Whether others may be sent before it, which shows whose fault it is."""


def max_failed_parts(items: int) -> int:
    """The parts that fail in a row before the destination is at fault, not the batch of `items`.

    One way down to a single item, and the other half on each level.
    """
    return 2 * math.ceil(math.log2(max(items, 2))) + 2


def verdict(
    part: Part, failure: Failure, seen: Seen, *, items: int, max_blocked_seconds: float
) -> Verdict:
    """What to do about the failure of a part, which `part` has noted, of a record of `items`."""
    assert part.failing_since is not None
    is_proven = seen.accepted > part.accepted_before
    # Without a bound, a destination that fails everything is sent every span alone.
    can_halve = seen.failed_parts < max_failed_parts(items)
    if isinstance(failure, Retry):
        if failure.is_destinations or seen.now - part.failing_since < max_blocked_seconds:
            return Verdict.WAIT
        if part.is_whole:
            return _halve(part, is_proven, seen, max_blocked_seconds) if can_halve else Verdict.WAIT
        # Each strike lies between two deliveries: an outage cannot cause it, except by chance.
        needed = MAX_STRIKES_OVERLOADED if failure.cause in _OVERLOADED else MAX_STRIKES
        if part.strikes >= needed:
            return Verdict.GIVE_UP
        is_long = seen.now - part.alone_since >= max_blocked_seconds
        # A half of the record was accepted, so that the rest of it need not wait for other batches.
        if not (part.is_half and is_proven and is_long and part.failures >= needed):
            return Verdict.WAIT
        return _give_up(part, seen, needed)
    if part.is_whole:
        return _halve(part, is_proven, seen, max_blocked_seconds) if can_halve else Verdict.WAIT
    if part.strikes >= MAX_STRIKES:
        return Verdict.GIVE_UP
    # What else there is of the record may be accepted in between, which costs no request.
    if part.failures < 2:
        return Verdict.REPEAT
    # A destination that never accepted anything is wrong from the start, unless the size says it.
    if not (seen.accepted or failure.is_large):
        return Verdict.WAIT
    return _give_up(part, seen, MAX_STRIKES)


def _halve(part: Part, is_proven: bool, seen: Seen, max_blocked_seconds: float) -> Verdict:
    if is_proven:
        return Verdict.HALVE
    if seen.takes_empty is None:
        return Verdict.ASK
    if seen.takes_empty:
        return Verdict.HALVE
    # Some backends reject empty requests. Where no other batch can show it, a half has to.
    assert part.failing_since is not None
    is_long = seen.now - part.failing_since >= max_blocked_seconds
    return Verdict.HALVE if is_long and not seen.may_be_passed else Verdict.WAIT


def _give_up(part: Part, seen: Seen, needed: int) -> Verdict:
    """Also by empty requests, after each of which the part has to fail."""
    # Some backends answer an empty request before they look at anything else.
    if not seen.only_this_fails or (not part.strikes and seen.unproven >= MAX_UNPROVEN):
        return Verdict.WAIT
    if part.strikes + part.vouched_strikes >= needed:
        return Verdict.GIVE_UP
    if seen.takes_empty is None:
        return Verdict.ASK
    return Verdict.REPEAT if seen.takes_empty else Verdict.WAIT
