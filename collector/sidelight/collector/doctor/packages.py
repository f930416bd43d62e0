"""Checks that the packages which the configuration needs are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from sidelight.base.check import Check
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.registry import AnyDestination, type_of
from sidelight.collector.receivers.registry import enabled

_NAME = "packages"
# What the service itself imports and the doctor does not.
_ALWAYS = ("uvloop",)


def check(config: Config, used: Iterable[AnyDestination]) -> Check:
    """Look for the packages without importing them, which would take seconds."""
    needed = {
        package: True
        for packages in (
            _ALWAYS,
            *(receiver_type.packages for receiver_type, _ in enabled(config.receivers)),
            *(type_of(destination).packages for destination in used),
        )
        for package in packages
    }
    missing = _missing(needed)
    if missing:
        return Check(
            _NAME, "fail", f"missing: {missing}", "Run: pip install 'sidelight[collector]'"
        )
    writes_dashboards = config.dashboards.directory is not None
    if _missing({"grafana_foundation_sdk": writes_dashboards}):
        return Check(
            _NAME,
            "warn",
            "grafana_foundation_sdk is missing: no dashboards are written",
            "Run: pip install 'sidelight[dashboards]', or set dashboards.directory to ''.",
        )
    return Check(_NAME, "ok", "all installed")


def _missing(packages: dict[str, bool]) -> str:
    return ", ".join(name for name, used in packages.items() if used and find_spec(name) is None)
