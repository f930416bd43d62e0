"""The parts of grafana-foundation-sdk in use; importing this says how to install it if missing."""

from __future__ import annotations

import warnings

try:
    with warnings.catch_warnings():
        # The SDK calls its v1 schema deprecated on import; v1 is what every Grafana in use reads.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.builders import common as build_common
        from grafana_foundation_sdk.builders import heatmap, stat, timeseries
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.models import common, prometheus
        from grafana_foundation_sdk.models import dashboard as v1
        from grafana_foundation_sdk.models import heatmap as heatmap_models
except ModuleNotFoundError as error:
    # Another package that the SDK itself lacks is named by Python's own message.
    if (error.name or "").partition(".")[0] != "grafana_foundation_sdk":
        raise
    raise ImportError(
        "Grafana dashboards need grafana-foundation-sdk, which is not installed: "
        "pip install 'sidelight[dashboards]'",
        name=error.name,
    ) from None

__all__ = [
    "JSONEncoder",
    "build_common",
    "common",
    "heatmap",
    "heatmap_models",
    "prometheus",
    "stat",
    "timeseries",
    "v1",
]
