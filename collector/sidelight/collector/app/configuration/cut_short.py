"""Which settings a reload would take away because their key is gone from the file.

A file that an editor, a full disk or a broken deployment has cut short is often still valid. Its
defaults have no destinations, mask nothing and keep all content, so what only the absence of a
key would take away is refused. To remove it, the user writes the key empty. A list that lost some
of its destinations looks like an edit, except that what was cut short rarely ends with a newline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidelight.base.configuration.section import ConfigError, Section
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.registry import AnyDestination

# Live keys whose defaults deliver, hold back, mask or scrape less than what was configured. A
# key includes all keys below it. Other keys may go back to their defaults.
_GUARDED: Final = ("destinations", "processors", "receivers.scrape.targets")
# What holds data back from a destination that stays.
_GUARDED_OF_DESTINATIONS: Final = frozenset({"only", "drop", "sample", "routes", "unmatched"})


def refuse_if_cut_short(name: str, text: str, running: Config, new: Config) -> None:
    """Raise `ConfigError`, with a line for each key, if `new` takes settings away by absence.

    `name` is the file's, `text` what it holds.
    """
    absent = sorted({*_absent(running, new, ""), *_absent_of_destinations(running, new)})
    if absent:
        raise ConfigError("\n".join(f"{name}: {_fault(key, running)}" for key in absent))
    removed = _by_name(running.destinations or ()).keys() - _by_name(new.destinations or ()).keys()
    # `destinations: []` names nothing that could have been cut.
    if removed and new.destinations and not _has_end(text):
        raise ConfigError(
            f"{name}: {', '.join(sorted(removed))} would get nothing more, and the last line has "
            "no newline; the file may be cut short: restore it, or end it with a newline to remove "
            "them"
        )


def _has_end(text: str) -> bool:
    # JSON that can be read at all is whole.
    return text.endswith("\n") or text.lstrip().startswith("{")


def _fault(key: str, running: Config) -> str:
    if key != "destinations":
        return (
            f"{key} is gone but in use; the file may be cut short: restore it, or write "
            f"{key} empty or with its default to remove it"
        )
    names = ", ".join(destination.name for destination in running.destinations or ())
    return (
        f"destinations is gone, and {names} would get nothing more; the file may be cut short: "
        "restore it, or write destinations: [] to remove them all"
    )


def _absent(running: Section, new: Section, below: str) -> Iterator[str]:
    for name, field in type(running).model_fields.items():
        key = f"{below}{name}"
        if not any(_covers(guarded, key) or _covers(key, guarded) for guarded in _GUARDED):
            continue
        old_value, new_value = getattr(running, name), getattr(new, name)
        is_written = name in new.model_fields_set
        if isinstance(old_value, Section):
            # A section that is written empty is meant to be empty.
            if not is_written or new_value.model_fields_set:
                yield from _absent(old_value, new_value, f"{key}.")
        # `destinations:` without a value is what a file holds that was cut behind the colon.
        elif not is_written or (key == "destinations" and new_value is None):
            default = field.get_default(call_default_factory=True)
            if old_value != default and old_value not in (None, ()):
                yield key


def _covers(above: str, key: str) -> bool:
    return key == above or key.startswith(f"{above}.")


def _absent_of_destinations(running: Config, new: Config) -> Iterator[str]:
    written = _by_name(new.destinations or ())
    for name, destination in _by_name(running.destinations or ()).items():
        after = written.get(name)
        for key in _GUARDED_OF_DESTINATIONS & type(destination).model_fields.keys():
            default: Any = type(destination).model_fields[key].get_default()
            if (
                after is not None
                and getattr(destination, key) != default
                and key not in after.model_fields_set
            ):
                yield f"{key} of the destination {name}"


def _by_name(destinations: Sequence[AnyDestination]) -> dict[str, AnyDestination]:
    return {destination.name: destination for destination in destinations}
