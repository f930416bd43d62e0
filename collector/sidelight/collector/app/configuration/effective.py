"""Prints the effective configuration as YAML, without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sidelight.collector.app.configuration.config import Config


def effective(config: Config) -> str:
    """Every key with the value that is in use.

    Secrets are shown as the name of their variable or file. In a URL, everything after ? or #
    may be a secret and is masked.
    """
    values = _shown(config.model_dump(mode="json"))
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"env", "file"}:
            return {name: place for name, place in value.items() if place is not None}
        return {name: _shown(item) for name, item in value.items()}
    if isinstance(value, str):
        return _masked(value) if "://" in value else value
    if isinstance(value, Sequence):
        return [_shown(item) for item in value]
    return value


def _masked(url: str) -> str:
    for mark in "?#":
        start, separator, _ = url.partition(mark)
        if separator:
            return f"{start}{mark}…"
    return url
