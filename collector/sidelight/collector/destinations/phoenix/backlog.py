"""What a backend has taken and not yet stored, by sample spans whose storage can be asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from sidelight.otlp.otlp_pb2 import Request, SpanHead

_SPANS_PER_SAMPLE = 100


class Backlog:
    """Counts spans from delivery to storage, which a backend does roughly in order."""

    def __init__(self) -> None:
        # Span id in hex and the spans it stands for, itself included; the oldest first.
        self._samples: deque[tuple[str, int]] = deque()
        self.spans = 0

    def add(self, body: bytes) -> None:
        """Note a delivered batch: a serialised export request of traces."""
        request = Request.FromString(body)
        items = [
            item
            for resource in request.resources
            for scope in resource.scopes
            for item in scope.items
        ]
        for start in range(0, len(items), _SPANS_PER_SAMPLE):
            group = items[start : start + _SPANS_PER_SAMPLE]
            self._samples.append((SpanHead.FromString(group[-1]).span_id.hex(), len(group)))
        self.spans += len(items)

    def samples(self, most: int) -> list[str]:
        """At most so many span ids to ask for, spread evenly, the newest among them."""
        count = len(self._samples)
        steps = min(most, count)
        return [self._samples[count * step // steps - 1][0] for step in range(1, steps + 1)]

    def confirm(self, stored: Collection[str]) -> bool:
        """Take off all up to the newest stored sample; whether there was any."""
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
