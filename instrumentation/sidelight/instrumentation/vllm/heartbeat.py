"""Whether the engine steps while it has work: the age of its last step.

vLLM's own figures come with steps. An engine that froze looks idle in them, and one that froze
while it was idle answers `/health` as before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

# Requests beyond this number are not needed to know that there is work.
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
    """The requests that the engine has to work on, from their arrival to their last token.

    A client that reads its answer slowly holds a request open for long. The engine has done its
    work by then, so the request is no longer in hand.
    """

    def __init__(self) -> None:
        self._since: OrderedDict[Hashable, float] = OrderedDict()

    def begin(self, request: Hashable, at: float) -> None:
        """Note a request that came at `at`. The oldest is dropped beyond the bound."""
        self._since[request] = at
        if len(self._since) > MAX_IN_HAND:
            self._since.popitem(last=False)

    def end(self, request: Hashable) -> None:
        """Note that the engine has finished it, or that it is over. May be called again."""
        self._since.pop(request, None)

    def oldest(self) -> float | None:
        """When the oldest request came; None without any."""
        return next(iter(self._since.values()), None)
