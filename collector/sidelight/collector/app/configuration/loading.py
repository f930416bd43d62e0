"""Reads sidelight.yaml and the environment into a `Config`, with errors a user can act on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.registry import TYPES

ENV_PREFIX = "SIDELIGHT_"
_LONGEST_SHOWN = 100
_MAY_BE_SECRET = ("secret", "key", "headers", "token")


def load(path: Path | None) -> Config:
    """The configuration from `path` (None: defaults) and the environment.

    Raises `ConfigError` with one line for each fault: file, key, value, what is allowed.
    """
    values: Any = {}
    where = "environment"
    if path is not None:
        where = str(path)
        try:
            values = yaml.safe_load(path.read_text()) or {}
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid YAML: {_yaml_problem(error)}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: must be a mapping of sections, not {type(values).__name__}")
    try:
        return Config.model_validate(overlaid(values, os.environ))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(where, fault) for fault in error.errors())) from error


def overlaid(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """`values` with what the environment sets laid over them.

    Written here because pydantic-settings costs 6 MB of the 60 an idle collector may have.
    Variables without `__` that name no key of the top (SIDELIGHT_CAPTURE_CONTENT) belong to
    others. Raises `ConfigError` for a list or mapping that is no JSON, and for a variable that
    reaches into a value that is no mapping.
    """
    merged = dict(values)
    for variable in sorted(environ):
        path = variable.removeprefix(ENV_PREFIX).lower().split("__")
        if not variable.startswith(ENV_PREFIX) or (
            len(path) == 1 and path[0] not in Config.model_fields
        ):
            continue
        section = merged
        for part in path[:-1]:
            inner = section.get(part)
            if inner is not None and not isinstance(inner, dict):
                raise ConfigError(f"environment: {variable}: {part} is not a mapping of keys")
            nested = dict(inner or {})
            section[part] = nested
            section = nested
        section[path[-1]] = _environment_value(variable, environ[variable])
    return merged


def _environment_value(variable: str, text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"environment: {variable}: not valid JSON: {error}") from error


def _yaml_problem(error: Exception) -> str:
    """Where and what, without the line itself: it may hold a secret in the wrong place."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "unreadable"


def _explain(where: str, fault: Any) -> str:
    location = fault["loc"]
    for depth in range(len(location), 0, -1):
        variable = ENV_PREFIX + "__".join(str(part).upper() for part in location[:depth])
        if variable in os.environ:
            where = f"environment: {variable}"
            break
    key = ".".join(str(part) for part in _written(location)) or "(whole file)"
    if fault["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key; {_known_keys(location)}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in ("model_type", "model_attributes_type"):
        message = f"must be a mapping; {_known_keys((*location, ''))}"
    elif fault["type"] == "dict_type":
        message = "must be a mapping"
    elif fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{where}: {key}.type: must be one of {', '.join(TYPES)}"
    elif fault["type"] in ("tuple_type", "list_type"):
        message = 'must be a list, in the environment as JSON, for instance ["one"]'
    elif fault["type"] == "path_type":
        message = "must be a path"
    return f"{where}: {key}{_shown(key, fault.get('input'))}: {message[0].lower()}{message[1:]}"


def _written(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """The path of a fault as it stands in the file: without the type that pydantic adds."""
    is_typed = location[:1] == ("destinations",) and len(location) > 2
    return (*location[:2], *location[3:]) if is_typed else location


def _shown(key: str, value: Any) -> str:
    """The value in brackets, unless it is large or may be a secret."""
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    shown = repr(value)
    if any(each in key for each in _MAY_BE_SECRET) or len(shown) > _LONGEST_SHOWN:
        return ""
    is_url_with_secret = "url" in key and any(mark in shown for mark in "@?#")
    return "" if is_url_with_secret else f" (is {shown})"


def _known_keys(location: tuple[Any, ...]) -> str:
    """The keys allowed beside an unknown one, as far as the location can be followed."""
    model: type[BaseModel] = Config
    path = location[:-1]
    if path[:1] == ("destinations",) and len(path) > 2:
        model, path = TYPES[path[2]], path[3:]
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return "see docs/configuration.md or `sidelight config schema`"
        model = annotation
    return "known keys: " + ", ".join(sorted(model.model_fields))
