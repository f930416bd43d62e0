"""A log in memory whose disk takes as long as a test wants, or refuses."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sidelight.collector.log.record import Record


class HeldLog:
    """Appends wait until `go` is set, and fail with `error` while there is one."""

    def __init__(self) -> None:
        self.appends: list[list[Record]] = []
        self.go = threading.Event()
        self.waiting = False
        """Whether an append waits for `go`."""
        self.error: OSError | None = None

    @property
    def bodies(self) -> list[bytes]:
        """What was stored, in order."""
        return [record.body() for records in self.appends for record in records]

    def append(self, records: Sequence[Record]) -> None:
        self.waiting = True
        assert self.go.wait(60)
        self.waiting = False
        if self.error is not None:
            raise self.error
        self.appends.append(list(records))

    def verify(self) -> None:
        pass

    def probe(self) -> None:
        if self.error is not None:
            raise self.error
