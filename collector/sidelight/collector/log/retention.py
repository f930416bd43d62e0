"""Retention: which segments may go, and what that costs whom. A pure decision, no I/O.

A segment that every subscription has passed goes unless it is kept for a replay. Any other
goes only over the size limit or the age limit, and what it still held for a subscription is
reported as dropped. The newest segment always stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

Reason = Literal["size", "age", "lost"]
"""Why items are gone: a limit of retention, or something else deleted their file."""

# After a start nothing goes by age for this long, or for the age limit itself if that is
# shorter: destinations get time to fetch what was old at the start, because the machine may
# have started with a wrong clock.
_MAX_GRACE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The limits, and how much of what was delivered is kept for a replay.

    Delivered segments stay for `keep_seconds`, as long as they are at most `keep_bytes`.
    """

    max_bytes: int
    max_age_seconds: float
    keep_seconds: float = 0.0
    keep_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """Items that were deleted before a subscription had read them."""

    subscription: str
    items: int
    reason: Reason


class SegmentState(NamedTuple):
    """A segment as retention sees it; `age_seconds` since it was last appended to."""

    number: int
    size_bytes: int
    age_seconds: float


class Deletion(NamedTuple):
    """A segment to delete. With a `reason`, the subscriptions `behind` lose what is in it."""

    segment: int
    reason: Reason | None
    behind: tuple[str, ...]


def deletions(
    segments: Sequence[SegmentState],
    cursors: Mapping[str, int],
    policy: RetentionPolicy,
    *,
    uptime_seconds: float,
) -> list[Deletion]:
    """What to delete of `segments`, which are ordered oldest first.

    `cursors` holds the segment that each subscription reads next. Without subscriptions only
    the limits count. `uptime_seconds`: how long the log has been open.
    """
    slowest = min(cursors.values(), default=0)
    total_bytes = sum(segment.size_bytes for segment in segments)
    passed_bytes = sum(segment.size_bytes for segment in segments[:-1] if segment.number < slowest)
    has_grace = uptime_seconds <= min(policy.max_age_seconds, _MAX_GRACE_SECONDS)
    chosen = []
    # In pairs, so that the newest one, which is appended to, is never chosen.
    for oldest, following in pairwise(segments):
        behind = tuple(name for name, segment in cursors.items() if segment < following.number)
        is_over_size = total_bytes > policy.max_bytes
        reason: Reason | None = None
        if cursors and not behind:
            is_kept = (
                oldest.age_seconds <= policy.keep_seconds and passed_bytes <= policy.keep_bytes
            )
            if is_kept and not is_over_size:
                break
        elif is_over_size:
            reason = "size"
        elif oldest.age_seconds > policy.max_age_seconds and not has_grace:
            reason = "age"
        else:
            break
        chosen.append(Deletion(oldest.number, reason, behind if reason else ()))
        total_bytes -= oldest.size_bytes
        if oldest.number < slowest:
            passed_bytes -= oldest.size_bytes
    return chosen
