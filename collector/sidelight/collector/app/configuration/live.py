"""Which keys of sidelight.yaml a reload changes while the service runs."""

from __future__ import annotations

from typing import Final, TypeVar

from sidelight.base.configuration.section import Section
from sidelight.collector.receivers.registry import TYPES

_SectionT = TypeVar("_SectionT", bound=Section)

# A key includes all keys below it. Keys that are not listed (ports, folders, new keys) need a
# restart; a reload names them in a warning instead of applying half of the change.
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
            f"receivers.{receiver.name}" if key == "*" else f"receivers.{receiver.name}.{key}"
            for receiver in TYPES.values()
            for key in sorted(receiver.live_keys)
        ),
    }
)


def is_live(key: str) -> bool:
    """Whether a reload applies the key, for instance `log.max_bytes`."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in LIVE_KEYS for length in range(1, len(parts) + 1))


def reloaded(running: _SectionT, new: _SectionT, below: str = "") -> tuple[_SectionT, list[str]]:
    """The configuration after a reload of `new`, and its changed keys that need a restart."""
    values = {}
    waiting: list[str] = []
    for name in type(running).model_fields:
        key = f"{below}{name}"
        old_value, new_value = getattr(running, name), getattr(new, name)
        if is_live(key):
            values[name] = new_value
        elif isinstance(old_value, Section) and isinstance(new_value, Section):
            values[name], inner = reloaded(old_value, new_value, f"{key}.")
            waiting += inner
        elif old_value != new_value:
            waiting.append(key)
    return running.model_copy(update=values), waiting
