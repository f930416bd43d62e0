"""Checks each destination, by the check of its own type."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.collector.destinations.registry import AnyDestination, type_of


async def check(config: AnyDestination, timeout_seconds: float) -> Check:
    """Check that it answers and accepts the credentials, without storing anything."""
    seconds = min(config.timeout_seconds, timeout_seconds)
    # A person waits for the report: a destination gets less time than in operation.
    shortened = config.model_copy(update={"timeout_seconds": seconds})
    name = f"{config.type} {config.name}" if config.name != config.type else config.name
    return await type_of(config).check(name, shortened)
