"""What the descriptions of all spans share."""

from __future__ import annotations

from typing import Any, Final

NANOSECONDS: Final = 1_000_000_000


def known(attributes: dict[str, Any]) -> dict[str, Any]:
    """`attributes` without those that are None: a span leaves out what is not known."""
    return {name: value for name, value in attributes.items() if value is not None}
