"""Whether each destination is there and takes our keys, as its own type checks it."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.collector.destinations.registry import AnyDestination, type_of


async def check(config: AnyDestination, timeout_seconds: float) -> Check:
    """Ask it what can be asked without storing anything."""
    seconds = min(config.timeout_seconds, timeout_seconds)
    impatient = config.model_copy(update={"timeout_seconds": seconds})
    name = f"{config.type} {config.name}" if config.name != config.type else config.name
    return await type_of(config).check(name, impatient)
