"""Vectors of the workloads."""

from __future__ import annotations

DIMENSION = 8


def vector(seed: int) -> list[float]:
    """A vector that differs from its neighbours a little."""
    return [1.0, *(((seed * 7 + place) % 23) / 50 for place in range(DIMENSION - 1))]
