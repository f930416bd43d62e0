"""Whether the engine steps while it has work: the age of its last step.

vLLM's own figures come with steps. An engine that froze looks idle in them, and one that froze
while it was idle answers `/health` as before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

# Requests of one API server beyond this number are not needed to know that there is work.
MAX_IN_HAND: Final = 8_192


def step_age(now: float, last_step_at: float | None, in_hand_since: float | None) -> float:
    """Seconds that work has been in hand without a step. Times are monotonic seconds.

    `in_hand_since` is None if there is no work; `last_step_at` is None before the first step.
    """
    if in_hand_since is None:
        return 0.0
    since = in_hand_since if last_step_at is None else max(last_step_at, in_hand_since)
    return max(0.0, now - since)


class RequestsInHand:
    """The requests that are in hand, by the number that their API server (a source) gave them.

    For the heartbeat they are those that the engine has to work on, from their arrival to their
    last token. A client that reads its answer slowly holds a request open for longer than that.
    """

    def __init__(self) -> None:
        self._since: dict[int, OrderedDict[int, float]] = {}
        self._oldest: float | None = None

    def begin(self, source: int, number: int, at: float) -> None:
        """Note a request that came at `at`. The source's oldest is dropped beyond the bound."""
        self._since.setdefault(source, OrderedDict())[number] = at
        self.keep_newest(source, MAX_IN_HAND)

    def end(self, source: int, number: int | None) -> None:
        """Note that the engine has finished it, or that it is over. May be called again."""
        in_hand = self._since.get(source)
        if in_hand and number is not None and in_hand.pop(number, None) is not None:
            self._find_oldest()

    def numbers(self, source: int) -> list[int]:
        """The requests of a source, the oldest first."""
        return list(self._since.get(source, ()))

    def oldest(self) -> float | None:
        """When the oldest request came; None without any. May be called on any thread."""
        return self._oldest

    def keep_newest(self, source: int, count: int) -> None:
        """Forget the oldest of a source that has at most `count` requests in hand.

        Their ends were dropped on the way.
        """
        in_hand = self._since.get(source)
        if in_hand is None:
            return
        while len(in_hand) > max(0, count):
            in_hand.popitem(last=False)
        if not in_hand:
            del self._since[source]
        self._find_oldest()

    def _find_oldest(self) -> None:
        firsts = [next(iter(in_hand.values())) for in_hand in self._since.values() if in_hand]
        self._oldest = min(firsts, default=None)
