"""Overlays the values of a configuration with those of environment variables.

Written here because pydantic-settings takes 6 MB of the 60 MB of an idle collector.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sidelight.base.configuration.section import ConfigError
from sidelight.base.configuration.yaml_file import KeyPath

PREFIX = "SIDELIGHT_"


@dataclass(slots=True)
class Overlay:
    """Values of a configuration, and the variables that set some of them."""

    values: dict[str, Any]
    variables: dict[KeyPath, str] = field(default_factory=dict)


def overlay(
    values: Mapping[str, Any], environ: Mapping[str, str], sections: Collection[str]
) -> Overlay:
    """`values` overlaid with what `environ` sets; `values` itself does not change.

    A variable is `SIDELIGHT_` and the path of a key, joined by two underscores; lists and
    mappings are JSON. A variable without `__` counts only if it names one of `sections`:
    others, such as SIDELIGHT_CAPTURE_CONTENT, configure the instrumentation.

    Raises `ConfigError` with a line for each variable that holds invalid JSON or names a key
    below a value that is not a mapping.
    """
    merged = dict(values)
    variables: dict[KeyPath, str] = {}
    faults: list[str] = []
    # Sorted, so that SIDELIGHT_LOG comes before SIDELIGHT_LOG__DIRECTORY, which changes part of it.
    for variable in sorted(environ):
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if not variable.startswith(PREFIX) or (len(path) == 1 and path[0] not in sections):
            continue
        try:
            _set(merged, path, _value(environ[variable]))
            variables[path] = variable
        except ValueError as error:
            faults.append(f"environment: {variable}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    return Overlay(merged, variables)


def variable_of(key: str) -> str:
    """The variable that sets a dotted key."""
    return PREFIX + key.upper().replace(".", "__")


def _set(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set the value at `path`. The mappings above it are copied: the file's values share them."""
    section = values
    for part in path[:-1]:
        inner = section.get(part)
        if inner is not None and not isinstance(inner, dict):
            raise ValueError(f"{part} is not a mapping of keys")
        section[part] = nested = dict(inner or {})
        section = nested
    section[path[-1]] = value


def _value(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        # The parser's message does not quote the text, which may hold a secret.
        raise ValueError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("not valid JSON: nested too deeply") from None
