"""What users rely on changes only where somebody says so."""

from __future__ import annotations

from support.paths import TESTS
from support.public_api import lines


def test_the_public_api_is_the_one_that_is_written_down() -> None:
    """A line that goes breaks somebody: say so in CHANGELOG.md, and run `make generated`."""
    assert lines() == (TESTS / "public_api.txt").read_text().splitlines()
