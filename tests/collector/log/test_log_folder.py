"""The folder of the log: who may read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.errors import LogError
from support.other_user import as_nobody


def test_a_folder_that_may_not_be_entered_is_one_sentence(tmp_path: Path) -> None:
    """With what to do, wherever in the path it is."""
    directory = tmp_path / "closed" / "below" / "log"
    with as_nobody(tmp_path), pytest.raises(LogError) as refusal:
        DurableLog(directory, segment_bytes=1024)
    assert str(refusal.value).startswith(f"log folder {directory} cannot be used: ")
    assert "let this user enter and write the folders of the path" in str(refusal.value)
