"""Tracks spans that a backend has accepted and not yet stored, by asking for sample spans."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from sidelight.otlp.otlp_pb2 import Request, SpanHead

# Small enough to follow the pace, large enough that asking costs Phoenix little.
_SPANS_PER_SAMPLE = 100


class Backlog:
    """Counts spans between delivery and storage. A backend stores them roughly in order."""

    def __init__(self) -> None:
        # A hexadecimal span id and the number of spans it represents; the oldest first.
        self._samples: deque[tuple[str, int]] = deque()
        self.spans = 0

    def add(self, body: bytes) -> None:
        """Add a delivered batch: a serialised export request of traces."""
        request = Request.FromString(body)
        items = [
            item
            for resource in request.resources
            for scope in resource.scopes
            for item in scope.items
        ]
        for start in range(0, len(items), _SPANS_PER_SAMPLE):
            group = items[start : start + _SPANS_PER_SAMPLE]
            # The last span: once it is stored, so are those before it.
            self._samples.append((SpanHead.FromString(group[-1]).span_id.hex(), len(group)))
        self.spans += len(items)

    def samples(self, limit: int) -> list[str]:
        """At most `limit` span ids to ask for, evenly distributed, with the newest one."""
        count = len(self._samples)
        steps = min(limit, count)
        return [self._samples[count * step // steps - 1][0] for step in range(1, steps + 1)]

    def confirm(self, stored: Collection[str]) -> bool:
        """Remove all spans up to the newest stored sample. Returns whether there was one."""
        through = max(
            (place for place, (sample, _) in enumerate(self._samples, 1) if sample in stored),
            default=0,
        )
        for _ in range(through):
            self.spans -= self._samples.popleft()[1]
        return through > 0

    def clear(self) -> None:
        """Forget everything."""
        self._samples.clear()
        self.spans = 0
