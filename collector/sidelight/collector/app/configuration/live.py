"""Which keys of sidelight.yaml a reload changes while the service runs."""

from __future__ import annotations

from typing import Final, TypeVar

from sidelight.base.configuration.section import Section
from sidelight.collector.receivers.registry import TYPES

_SectionT = TypeVar("_SectionT", bound=Section)

# A key stands for all below it. What is not here (ports, folders, whatever is added) needs a
# restart, which a reload says instead of doing half of it.
LIVE_KEYS: Final = frozenset(
    {
        "destinations",
        "log.max_age_seconds",
        "log.max_bytes",
        "log.keep_bytes",
        "log.keep_seconds",
        "logging",
        "processors",
        "shutdown_seconds",
        *(
            f"receivers.{each.name}" if key == "*" else f"receivers.{each.name}.{key}"
            for each in TYPES.values()
            for key in sorted(each.live_keys)
        ),
    }
)


def is_live(key: str) -> bool:
    """Whether a reload changes the key, for instance `log.max_bytes`."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in LIVE_KEYS for length in range(1, len(parts) + 1))


def reloaded(running: _SectionT, wanted: _SectionT, below: str = "") -> tuple[_SectionT, list[str]]:
    """What runs after a reload of `wanted`, and the keys that would need a restart."""
    values = {}
    waiting: list[str] = []
    for name in type(running).model_fields:
        key = f"{below}{name}"
        old, new = getattr(running, name), getattr(wanted, name)
        if is_live(key):
            values[name] = new
        elif isinstance(old, Section) and isinstance(new, Section):
            values[name], inner = reloaded(old, new, f"{key}.")
            waiting += inner
        elif old != new:
            waiting.append(key)
    return running.model_copy(update=values), waiting
