"""What the tests of delivery share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidelight.collector.delivery import feed
from sidelight.collector.log.durable_log import DurableLog
from support.sending import opened


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DurableLog]:
    """A log on disk."""
    with opened(tmp_path / "log") as log:
        yield log


@pytest.fixture
def each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record is a batch, however small."""
    monkeypatch.setattr(feed, "MAX_JOINED", 1)
