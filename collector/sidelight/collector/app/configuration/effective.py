"""What a configuration comes to, for a person to read: YAML in which no secret stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sidelight.collector.app.configuration.config import Config


def effective(config: Config) -> str:
    """Every key with the value that would be used.

    Secrets are shown by the name of their variable or file; what stands behind ? or # in a URL
    may be one, and is masked.
    """
    values = _shown(config.model_dump(mode="json"))
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"env", "file"}:
            return {name: each for name, each in value.items() if each is not None}
        return {name: _shown(each) for name, each in value.items()}
    if isinstance(value, str):
        return _masked(value) if "://" in value else value
    if isinstance(value, Sequence):
        return [_shown(each) for each in value]
    return value


def _masked(url: str) -> str:
    for mark in "?#":
        start, found, _ = url.partition(mark)
        if found:
            return f"{start}{mark}…"
    return url
