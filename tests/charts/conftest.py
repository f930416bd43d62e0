"""What the tests of the chart share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.helm import template


@pytest.fixture(scope="session")
def renderings() -> Iterator[None]:
    """What Helm has made of values: kept for the tests of all files, as many ask for the same."""
    yield
    template.cache_clear()
