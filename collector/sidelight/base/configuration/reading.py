"""Turns a file and the environment into a validated configuration, or lists all their faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from sidelight.base.configuration.environment import Overlay, overlay
from sidelight.base.configuration.faults import explain
from sidelight.base.configuration.origins import Origins
from sidelight.base.configuration.renames import Renames, refuse_old_names
from sidelight.base.configuration.section import ConfigError, Section
from sidelight.base.configuration.yaml_file import YamlFile

SectionT = TypeVar("SectionT", bound=Section)
_NO_RENAMES = Renames()


def validated(
    model: type[SectionT],
    file: YamlFile | None,
    environ: Mapping[str, str] | None = None,
    renames: Renames = _NO_RENAMES,
) -> SectionT:
    """The configuration that `file` and `environ` set; without them, the defaults.

    Raises `ConfigError` with one line for each fault: place, key, value, what is allowed.
    """
    merged = _merged(model, file, environ, renames)
    origins = Origins(file, merged.variables)
    values, faults = refuse_old_names(merged.values, origins, renames)
    try:
        configuration = model.model_validate(values)
    except ValidationError as error:
        # Not chained: pydantic's error quotes values, which may be secrets.
        raise ConfigError("\n".join(faults + explain(error, model, origins))) from None
    if faults:
        raise ConfigError("\n".join(faults))
    return configuration


def origins_of(
    model: type[Section],
    file: YamlFile | None,
    environ: Mapping[str, str] | None = None,
    renames: Renames = _NO_RENAMES,
) -> Origins:
    """Where each value of a configuration comes from. Raises `ConfigError`."""
    return Origins(file, _merged(model, file, environ, renames).variables)


def _merged(
    model: type[Section],
    file: YamlFile | None,
    environ: Mapping[str, str] | None,
    renames: Renames,
) -> Overlay:
    values = {} if file is None or file.values is None else file.values
    if not isinstance(values, dict):
        assert file is not None
        raise ConfigError(f"{file.name}: must be a mapping of keys, not {_kind(values)}")
    return overlay(values, environ or {}, model.model_fields.keys() | renames.sections)


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "a single value"
