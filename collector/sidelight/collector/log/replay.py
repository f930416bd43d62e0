"""How `sidelight log replay` asks the collector that has the log open to rewind a subscription.

The request is a file in the log's folder; the collector deletes it once it is done, which is
the answer. Everyone who may write to the folder may ask: no port is needed for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sidelight.collector.log.position import Position


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """A subscription is to be sent again everything from `position` on."""

    subscription: str
    position: Position
    path: Path

    def answer(self) -> None:
        """Tell the command that the subscription was rewound. Blocks; raises `OSError`."""
        self.path.unlink(missing_ok=True)
