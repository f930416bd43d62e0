"""Dashboards as ConfigMaps, for the sidecar of Grafana's Helm chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from sidelight.dashboards.publish.yaml_text import yaml_text

CONFIG_MAPS_FILE: Final = "sidelight-configmaps.yaml"


def config_maps(boards: Mapping[str, str]) -> str:
    """One ConfigMap for each board, because one may hold 1 MiB; `boards` are texts by file name.

    The label and the annotation are the sidecar's defaults.
    """
    return "---\n".join(
        yaml_text(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": PurePath(name).stem,
                    "labels": {"app.kubernetes.io/name": "sidelight", "grafana_dashboard": "1"},
                    "annotations": {"grafana_folder": "Sidelight"},
                },
                "data": {name: text},
            }
        )
        for name, text in boards.items()
    )
