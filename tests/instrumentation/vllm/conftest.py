"""A runtime of the vLLM instrumentation without threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sidelight.instrumentation.settings import Settings
from support.observed_vllm import Observed


@pytest.fixture
def observe() -> Callable[..., Observed]:
    """Makes a runtime with these settings."""

    def make(**settings: Any) -> Observed:
        return Observed(Settings(**settings))

    return make


@pytest.fixture
def observed(observe: Callable[..., Observed]) -> Observed:
    """A runtime with default settings."""
    return observe()
