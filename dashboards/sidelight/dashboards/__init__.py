"""Grafana dashboards made from Sidelight's metric catalog. Needs the extra `dashboards`."""

from __future__ import annotations

import importlib.util
import warnings

if importlib.util.find_spec("grafana_foundation_sdk") is None:
    raise ImportError(
        "sidelight.dashboards needs grafana-foundation-sdk, which is not installed: "
        "pip install 'sidelight[dashboards]'",
        name="grafana_foundation_sdk",
    )

with warnings.catch_warnings():
    # The SDK calls its v1 schema deprecated on import; v1 is what every Grafana in use reads.
    warnings.simplefilter("ignore", DeprecationWarning)
    from sidelight.dashboards.publish import render, write

__all__ = ["render", "write"]
