"""The settings of injection that the package has."""

from __future__ import annotations

from functools import cache

from sidelight.injection.settings import InjectionSettings, read_settings


@cache
def default_settings() -> InjectionSettings:
    """Read once: properties ask for them with each example."""
    return read_settings()
