"""Tail sampling by whole trace: pure state, fed with spans and time, asked for decisions.

A trace is kept as soon as one of its spans gives a reason, or at once if it is among the
share, which is told by a hash of its id, so that all collectors agree. What is left once
nothing has come of it for a while is dropped. A decision is final: later spans follow it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum

from sidelight import conventions as c
from sidelight.collector.delivery.match import rules
from sidelight.collector.destinations.common.sampling import Sampling
from sidelight.otlp.span_view import SpanView

_JUMP_NS = 1_000_000_000
_NS = 1_000_000_000


class Decision(IntEnum):
    """Why a trace is kept or dropped; the numbers stand in files and stay."""

    REST = 0
    EARLY = 1
    SHARE = 16
    FLAGGED = 17
    ERROR = 18
    PREEMPTED = 19
    SLOW_FIRST_TOKEN = 20
    LONG = 21
    RULE = 22

    @property
    def is_kept(self) -> bool:
        """Whether the trace is sent."""
        return self >= Decision.SHARE


class Reasons:
    """What in a span is a reason to keep its trace."""

    def __init__(self, config: Sampling) -> None:
        self._config = config
        self._rules = rules(config.keep)

    def find(self, span: SpanView) -> Decision | None:
        """The reason a span gives, if any."""
        config = self._config
        if span.attribute(c.KEEP_TRACE) in (True, "true"):
            return Decision.FLAGGED
        if config.keep_errors and span.is_error:
            return Decision.ERROR
        if config.keep_preempted and _exceeds(span, c.PREEMPTIONS, 0):
            return Decision.PREEMPTED
        if _exceeds(span, c.TIME_TO_FIRST_TOKEN, config.ttft_over_seconds):
            return Decision.SLOW_FIRST_TOKEN
        longest = config.duration_over_seconds
        if longest is not None and span.seconds > longest:
            return Decision.LONG
        if any(rule.fits_span(span) for rule in self._rules):
            return Decision.RULE
        return None


class Sampler:
    """Decides on traces. Bounded by its caller, who calls `forget` and `decide_early`."""

    def __init__(self, config: Sampling) -> None:
        self._threshold = int(config.share * 2**64)
        self._quiet_ns = int(config.quiet_seconds * _NS)
        self._max_wait_ns = int(config.max_wait_seconds * _NS)
        self._clock_ns = 0
        self._offset_ns = 0
        # First and last time of each; the one that was quiet for longest comes first.
        self._waiting: dict[bytes, tuple[int, int]] = {}
        # The one of which nothing came for longest comes first.
        self._decided: dict[bytes, Decision] = {}
        self.fresh: list[tuple[bytes, Decision]] = []
        """Decisions made since the caller last emptied this."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._decided)

    def decision(self, trace_id: bytes) -> Decision | None:
        """What was decided, or None if nothing is yet."""
        return self._decided.get(trace_id)

    def remember(self, trace_id: bytes, decision: Decision) -> None:
        """Take over a decision made before a restart."""
        self._decided.pop(trace_id, None)
        self._decided[trace_id] = decision

    def decisions(self) -> Iterable[tuple[bytes, Decision]]:
        """All that is remembered, the least recently seen first."""
        return self._decided.items()

    def advance(self, wall_ns: int) -> None:
        """Let time go on to `wall_ns` and decide on what has been quiet for long enough.

        A wall clock that is set back does not stop time here, nor does it turn it back.
        """
        now = wall_ns + self._offset_ns
        if now < self._clock_ns - _JUMP_NS:
            self._offset_ns += self._clock_ns - now
        self._clock_ns = max(self._clock_ns, now)
        due = []
        for trace_id, (_, last_ns) in self._waiting.items():
            if last_ns + self._quiet_ns > self._clock_ns:
                break
            due.append(trace_id)
        for trace_id in due:
            self._decide(trace_id, Decision.REST)

    def resume(self, wall_ns: int) -> None:
        """Data can come again since `wall_ns`; what was said before came before a pause.

        Nothing could come in the pause, so it does not count: time goes on from where it was,
        and each trace that waits gets its whole quiet time anew.
        """
        if self._waiting:
            self._offset_ns = self._clock_ns - wall_ns
        for trace_id, (first_ns, _) in self._waiting.items():
            self._waiting[trace_id] = (first_ns, self._clock_ns)

    def see(self, trace_id: bytes, reason: Decision | None) -> None:
        """A span of the trace came at the time of the last `advance`."""
        decided = self._decided.pop(trace_id, None)
        if decided is not None:
            self._decided[trace_id] = decided
            return
        first_ns, _ = self._waiting.pop(trace_id, (self._clock_ns, 0))
        if reason is not None:
            self._decide(trace_id, reason)
        elif self.is_in_share(trace_id):
            self._decide(trace_id, Decision.SHARE)
        elif self._clock_ns - first_ns >= self._max_wait_ns:
            self._decide(trace_id, Decision.REST)
        else:
            self._waiting[trace_id] = (first_ns, self._clock_ns)

    def is_in_share(self, trace_id: bytes) -> bool:
        """Whether the hash of its id puts a trace among those that are kept without a reason.

        A hash, not the id's own bits: samplers before us may have chosen by those.
        """
        digest = hashlib.blake2b(trace_id, digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._threshold

    def seconds_left(self, trace_id: bytes) -> float:
        """When the trace will be decided if nothing more comes; 0 if it is."""
        waiting = self._waiting.get(trace_id)
        if waiting is None:
            return 0.0
        return max(0, waiting[1] + self._quiet_ns - self._clock_ns) / _NS

    def decide_early(self, trace_ids: Iterable[bytes]) -> None:
        """Decide now on those that still wait, because no more can."""
        for trace_id in trace_ids:
            if trace_id in self._waiting:
                self._decide(trace_id, Decision.EARLY)

    def forget(self, limit: int) -> None:
        """Keep the `limit` decisions whose traces were seen last."""
        while len(self._decided) > limit:
            del self._decided[next(iter(self._decided))]

    def _decide(self, trace_id: bytes, decision: Decision) -> None:
        self._waiting.pop(trace_id, None)
        self._decided[trace_id] = decision
        self.fresh.append((trace_id, decision))


def _exceeds(span: SpanView, key: str, limit: float | None) -> bool:
    if limit is None:
        return False
    value = span.attribute(key)
    return isinstance(value, int | float) and value > limit
