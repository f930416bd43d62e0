"""Vectors for a small Milvus Lite, and how a test observes pymilvus."""

from __future__ import annotations

from collections.abc import Callable

from support.recording import Recording

DIMENSION = 8
Observe = Callable[..., Recording]


def vector(seed: int) -> list[float]:
    """A vector that differs from its neighbours a little."""
    return [1.0, *(((seed * 7 + place) % 11) / 50 for place in range(DIMENSION - 1))]
