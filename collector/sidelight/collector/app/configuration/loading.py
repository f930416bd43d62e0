"""Reads sidelight.yaml and the environment into a `Config`."""

from __future__ import annotations

import os
from pathlib import Path

from sidelight.base.configuration.origins import Origins
from sidelight.base.configuration.reading import origins_of, validated
from sidelight.base.configuration.renames import Renames
from sidelight.base.configuration.yaml_file import read
from sidelight.collector.app.configuration.config import Config

RENAMES = Renames(
    keys={
        "receive": "receivers",
        "receive.tokens": "auth.tokens",
        "receive.langfuse": "receivers.langfuse_api",
        "shape": "processors",
        "measure": "metrics",
    },
    types={"destinations": {"otlp": "otlp_http"}},
)
"""Keys and types of earlier versions, with their new names."""


def load(path: Path | None) -> Config:
    """The configuration from `path` (None: defaults) and the environment, which wins.

    Raises `ConfigError` with one line for each fault: file and line or variable, key, value,
    and what is allowed.
    """
    return validated(Config, None if path is None else read(path), os.environ, RENAMES)


def origins(path: Path | None) -> Origins:
    """Where each value of that configuration comes from. Raises `ConfigError`."""
    return origins_of(Config, None if path is None else read(path), os.environ, RENAMES)
