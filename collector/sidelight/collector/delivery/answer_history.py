"""What a destination's answers say of the parts of records that fail. Pure.

A failure counts against a part only between two acceptances: the destination accepted something
before the part was sent and accepts something after it failed, and nothing else begins to fail in
between. An outage, however short, would have to begin and end around that one request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Suspect(Protocol):
    """A part that strikes are counted of."""

    strikes: int


@dataclass(slots=True)
class _Pending:
    """A failure that came after an acceptance, and waits for the next answer."""

    part: Suspect
    failed_at: int


@dataclass(slots=True)
class AnswerHistory:
    """The answers to what was sent of one signal, in their order.

    Requests overlap, so that beginnings and ends are numbered: an answer to what was sent before
    a failure says nothing of the time after it.
    """

    _now: int = 0
    _up_since: int | None = None
    """When something was accepted first since something began to fail."""
    _last_failure: int = 0
    _pending: list[_Pending] = field(default_factory=list)
    _failing: set[int] = field(default_factory=set)
    """The records that have begun to fail since the last acceptance."""

    def begin(self) -> int:
        """Something is sent; the number goes with its answer."""
        self._now += 1
        return self._now

    def accepted(self, begun: int) -> None:
        """What was begun then was accepted: it shows what failed before to be at fault."""
        self._now += 1
        if begun < self._last_failure:
            return
        self._failing.clear()
        if self._up_since is None:
            self._up_since = self._now
        confirmed = [pending for pending in self._pending if pending.failed_at < begun]
        for pending in confirmed:
            pending.part.strikes += 1
            self._pending.remove(pending)

    def failed(self, part: Suspect, record: int, begun: int, *, is_suspect: bool) -> None:
        """A part of a record failed. `is_suspect`: others were accepted since it did so first.

        Suspects that fail say nothing of each other: with enough of them no two acceptances would
        have only one between them.
        """
        self._now += 1
        own = [pending for pending in self._pending if pending.part is part]
        counts = bool(own) or (self._up_since is not None and self._up_since < begun)
        if is_suspect:
            for pending in own:
                self._pending.remove(pending)
        else:
            # The destination may be down: what failed before this may have failed for that.
            self._pending.clear()
            self._failing.add(record)
            self._up_since = None
            self._last_failure = self._now
        if counts:
            self._pending.append(_Pending(part, self._now))

    def only_fails(self, record: int) -> bool:
        """Whether nothing but parts of this record has begun to fail since the last acceptance."""
        return self._failing <= {record}

    def forget(self, part: Suspect) -> None:
        """The part is halved or done with."""
        self._pending = [pending for pending in self._pending if pending.part is not part]

    def forget_record(self, record: int) -> None:
        """The whole record is done with."""
        self._failing.discard(record)
