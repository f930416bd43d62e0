"""Renamed keys and types: an old name is a fault that says the new name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidelight.base.configuration.environment import variable_of
from sidelight.base.configuration.origins import Origins
from sidelight.base.configuration.yaml_file import KeyPath


@dataclass(frozen=True, slots=True)
class Renames:
    """What was renamed. If several old keys fit a key, the longest one counts."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """New key by old key, both dotted: `{"receive.tokens": "auth.tokens"}`."""
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """New `type` by old one, by the key of the list: `{"destinations": {"otlp": "otlp_http"}}`."""

    @property
    def sections(self) -> frozenset[str]:
        """Old keys at the top of the file."""
        return frozenset(old for old in self.keys if "." not in old)

    def new_name(self, key: str) -> str | None:
        """The new name of a dotted key, None if neither it nor a key above it was renamed."""
        above = key
        while above not in self.keys:
            above, dot, _ = above.rpartition(".")
            if not dot:
                return None
        return self.keys[above] + key.removeprefix(above)


def refuse_old_names(
    values: Mapping[str, Any], origins: Origins, renames: Renames
) -> tuple[dict[str, Any], list[str]]:
    """`values` without old keys and with new types, and a fault for each old name.

    The remaining values can be validated, so one run reports all other faults as well.
    """
    current = dict(values)
    faults = [
        f"environment: {variable}: renamed to {variable_of(new)}"
        for path, variable in origins.variables.items()
        if (new := renames.new_name(".".join(map(str, path)))) is not None
    ]
    for old, new in renames.keys.items():
        path = tuple(old.split("."))
        if origins.file is not None and _is_set(origins.file.values, old, path, renames):
            faults.append(f"{origins.file.place(path)}: {old}: renamed to {new}")
        _remove(current, path)
    for key, new_types in renames.types.items():
        faults += _new_types(current, tuple(key.split(".")), new_types, origins)
    return current, faults


def _is_set(values: Any, old: str, path: tuple[str, ...], renames: Renames) -> bool:
    """Whether the file sets an old key, and more below it than keys with renames of their own."""
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    is_section = isinstance(values, dict) and bool(values)
    return not is_section or any(f"{old}.{inner}" not in renames.keys for inner in values)


def _remove(values: dict[str, Any], path: tuple[str, ...]) -> None:
    """Remove the key at `path`. The mappings above it are copied: the file's values share them."""
    *above, last = path
    for part in above:
        if not isinstance(values.get(part), dict):
            return
        values[part] = values = dict(values[part])
    values.pop(last, None)


def _new_types(
    values: dict[str, Any], path: KeyPath, new_types: Mapping[str, str], origins: Origins
) -> list[str]:
    """Replace old types in the list at `path`; returns a fault for each."""
    *above, last = path
    for part in above:
        if not isinstance(values.get(str(part)), dict):
            return []
        values[str(part)] = values = dict(values[str(part)])
    items = values.get(str(last))
    if not isinstance(items, list):
        return []
    faults = []
    for index, item in enumerate(items):
        old = item.get("type") if isinstance(item, dict) else None
        if isinstance(old, str) and old in new_types:
            items = [*items[:index], {**item, "type": new_types[old]}, *items[index + 1 :]]
            key = ".".join(map(str, (*path, index, "type")))
            place = origins.place((*path, index, "type"))
            faults.append(f"{place}: {key} (is {old!r}): renamed to {new_types[old]}")
    values[str(last)] = items
    return faults
