"""A log, and the folder it is in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sidelight.collector.log.log import SegmentLog


@dataclass(frozen=True, slots=True)
class Store:
    """A log and its folder, in which subscriptions keep their files too."""

    log: SegmentLog
    directory: Path
