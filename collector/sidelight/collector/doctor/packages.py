"""Whether the packages that the configuration makes use of are installed."""

from __future__ import annotations

from importlib.util import find_spec

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.doctor.check import Check

_NAME = "packages"


def check(config: Config) -> Check:
    """Look for the packages, without importing them."""
    missing = _missing(
        {
            "httptools": config.receive.otlp_http.enabled,
            "grpc": config.receive.otlp_grpc.enabled,
        }
    )
    if missing:
        return Check(
            _NAME, "fail", f"missing: {missing}", "Run: pip install 'sidelight[collector]'"
        )
    writes_dashboards = config.dashboards.directory is not None
    if _missing({"grafana_foundation_sdk": writes_dashboards}):
        return Check(
            _NAME,
            "warn",
            "grafana_foundation_sdk is missing, so no dashboards are written",
            "Run: pip install 'sidelight[dashboards]', or set dashboards.directory to nothing.",
        )
    if _missing({"uvloop": True}):
        return Check(
            _NAME,
            "warn",
            "uvloop is missing; the service runs on asyncio's slower loop",
            "Run: pip install uvloop",
        )
    return Check(_NAME, "ok", "all there")


def _missing(wanted: dict[str, bool]) -> str:
    return ", ".join(name for name, used in wanted.items() if used and find_spec(name) is None)
