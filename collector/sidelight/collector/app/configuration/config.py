"""sidelight.yaml: what may be configured, its defaults, and errors a user can act on.

Every key can also come from the environment: `SIDELIGHT_` and the path joined by two
underscores, for instance `SIDELIGHT_RECEIVE__OTLP_HTTP__PORT=4319`; lists are JSON. The
environment wins over the file. Secrets never stand in the file: they are named by an
environment variable or a file that holds them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from sidelight.base.configuration.section import (
    MIB,
    ConfigError,
    Section,
)
from sidelight.collector.app.configuration.serve import Serve
from sidelight.collector.app.configuration.workers import Workers
from sidelight.collector.destinations.registry import TYPES, AnyDestination, lane_names
from sidelight.collector.metrics.config import Measure
from sidelight.collector.processors.config import Shape
from sidelight.collector.receivers.registry import Receive

ENV_PREFIX = "SIDELIGHT_"
_LONGEST_SHOWN = 100
_MAY_BE_SECRET = ("secret", "key", "headers", "token")


class LogOptions(Section):
    """The durable log on disk."""

    directory: Path = Field(Path("sidelight-data"), description="Folder; it is made if missing.")
    segment_bytes: int = Field(
        64 * MIB, ge=64 * 1024, description="A segment above it is followed by another."
    )
    max_bytes: int = Field(
        10 * 1024 * MIB,
        ge=MIB,
        description="Size cap: above it the oldest segment goes, counted and logged.",
    )
    max_age_seconds: float = Field(
        7 * 86400, gt=0, description="Age above which a segment goes, counted and logged."
    )
    keep_seconds: float = Field(
        3600,
        ge=0,
        description="What every destination has got stays so long, for `sidelight log replay`.",
    )
    keep_bytes: int = Field(
        256 * MIB, ge=0, description="Most that is kept for `sidelight log replay`."
    )
    dedupe_seconds: float = Field(
        60,
        ge=0,
        description="A request that is sent again within this time is stored once; 0: never.",
    )
    compression: Literal["gzip", "none"] = Field(
        "gzip",
        description="How batches are stored, and sent on as they are: gzip costs CPU and saves "
        "three quarters of disk and network.",
    )
    max_pending_bytes: int = Field(
        64 * MIB, ge=MIB, description="Bytes waiting for the disk above which senders get 429."
    )


class Dashboards(Section):
    """Where generated dashboards are written when the service starts."""

    directory: Path | None = Field(
        Path("sidelight-dashboards"), description="Folder; empty: none are written."
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("directory") == "":
            return {**value, "directory": None}
        return value


class Logging(Section):
    """The service's own log lines, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lines below it are left out."
    )
    format: Literal["text", "json"] | None = Field(
        None, description="none: text on a terminal, JSON otherwise."
    )


class Config(Section):
    """The whole of sidelight.yaml."""

    receive: Receive = Receive()
    shape: Shape = Shape()
    measure: Measure = Measure()
    serve: Serve = Serve()
    log: LogOptions = LogOptions()
    destinations: tuple[AnyDestination, ...] | None = Field(
        None,
        description="none: Phoenix if it answers on localhost, Langfuse if its keys are set.",
    )
    dashboards: Dashboards = Dashboards()
    logging: Logging = Logging()
    shutdown_seconds: float = Field(10.0, ge=0, description="Longest drain after SIGTERM.")
    workers: Workers = Field(
        1,
        description="Processes that share the ports, each with a log of its own; auto: one a core.",
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        names = [name for each in self.destinations or () for name in lane_names(each)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two destinations or routes are called {name!r}; give one another name"
                )
        return self

    @model_validator(mode="after")
    def _traces_stay_whole(self) -> Config:
        for each in self.destinations or ():
            if each.sample is not None and self.workers > 1:
                raise ValueError(
                    f"destination {each.name!r} has sample, which needs whole traces in one "
                    f"process, and workers is {self.workers}: set workers to 1 or take sample out"
                )
        return self


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
